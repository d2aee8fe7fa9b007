"""The options of `plan` that ask for a number of workers, and what is said about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.terminal import duration
from schemas.errors import UsageError

if TYPE_CHECKING:
    from producer.deployment import Deployment
    from producer.forecast import Forecast
    from producer.sizing import Sizing

PANEL = "Deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingOptions:
    """By when a job shall be done, as given on the command line."""

    deadline: Annotated[
        str | None,
        typer.Option(
            "--deadline",
            metavar="TIME|DURATION",
            help="Say how many workers it takes to be done in 8h or 1d12h, by 06:00, or by "
            "2026-06-01T06:00.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None
    worker_tokens_per_second: Annotated[
        float | None,
        typer.Option(
            "--worker-tokens-per-second",
            metavar="N",
            min=0.001,
            help="Rate of one worker, that is one GPU. Left out: that of --like, else of the last "
            "job that ended.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="JOB",
            help="A job that ended, on such workers and with such a model: its rate counts.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None
    cost_per_hour: Annotated[
        float | None,
        typer.Option(
            "--cost-per-hour",
            metavar="PRICE",
            min=0,
            help="Of one worker, in whatever currency.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None

    def require_sense(self) -> None:
        """Raise UsageError where an option has no meaning, or the deadline is none."""
        from datetime import datetime

        from producer.sizing import seconds_until

        if self.deadline is not None:
            if self.worker_tokens_per_second is not None and self.like is not None:
                raise UsageError("give --worker-tokens-per-second or --like, not both")
            seconds_until(self.deadline, datetime.now().astimezone())
        elif (self.worker_tokens_per_second, self.like, self.cost_per_hour) != (None, None, None):
            raise UsageError(
                "--worker-tokens-per-second, --like and --cost-per-hour are for --deadline"
            )

    def size(self, deployment: "Deployment", made: "Forecast") -> "Sizing | None":
        """Return the workers that the job takes, None without a deadline."""
        from datetime import datetime

        from producer.sizing import rate_of, seconds_until, size

        if self.deadline is None:
            return None
        return size(
            tokens=made.tokens,
            chunks=made.chunks,
            seconds=seconds_until(self.deadline, datetime.now().astimezone()),
            rate=rate_of(deployment, self.worker_tokens_per_second, self.like),
            cost_per_hour=self.cost_per_hour,
        )


def sizing_facts(sizing: "Sizing | None") -> dict[str, object]:
    """Return what a deadline takes as names and values to print."""
    if sizing is None:
        return {}
    whose = f", as in job {sizing.rate_of_job}" if sizing.rate_of_job else ""
    few = "; fewer chunks than that: use smaller --chunk-rows" if sizing.short_of_chunks else ""
    facts: dict[str, object] = {
        "workers": f"{sizing.workers:,} to be done in {duration(sizing.seconds_left)}, a fifth "
        f"more than the estimate asks for{few}",
        "a worker": f"{sizing.worker_tokens_per_second:,.0f} tokens/s{whose}",
        "they take": f"{duration(sizing.seconds)}, {sizing.worker_hours:,.1f} worker hours",
    }
    if sizing.cost is not None:
        facts["cost"] = f"{sizing.cost:,.2f}"
    return facts
