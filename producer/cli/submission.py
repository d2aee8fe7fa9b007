"""`plan` and `submit`: see what a job would do, and start it."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.option_groups import with_groups
from producer.cli.options import (
    JobIdOption,
    Json,
    Output,
    PriorityOption,
)
from producer.cli.schedule import DriftReference, Incremental, LogicalDate, say_increment
from producer.cli.scoring_options import ScoringOptions
from producer.cli.sizing_options import SizingOptions, sizing_facts
from producer.cli.terminal import duration, print_facts, print_json, print_line, say, size
from producer.cli.watching import finish, follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.forecast import Forecast, NamedForecast
    from producer.submit import Submission

PANEL = "Score a corpus"
# Two rates to think with, for a user who names none: a small encoder on a few CPU cores and on
# one GPU are of these orders.
REFERENCE_RATES = (10_000, 500_000)
FOOTERS_EVERY_SECONDS = 2.0

Wait = Annotated[bool, typer.Option("--wait", help="Stay until the job has ended, with progress.")]
TokensPerSecond = Annotated[
    int | None,
    typer.Option(
        "--tokens-per-second",
        min=1,
        metavar="N",
        help="Rate of all workers together, to tell the time; `show` of a job that ended has it.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("plan", rich_help_panel=PANEL)(with_groups(plan))
    app.command("submit", rich_help_panel=PANEL)(with_groups(submit))


def plan(
    scoring: ScoringOptions,
    sizing: SizingOptions,
    tokens_per_second: TokensPerSecond = None,
    as_json: Json = False,
) -> None:
    """Say what a job would do: files, rows, chunks, tokens, time. Creates nothing.

    Reads the footers of the corpus, never its texts. With --deadline also how many workers it
    takes to be done by then.

    Example: bulkscore plan -i 's3://lake/reviews/*.parquet' -m models/sentiment --text-column text
    """
    from producer.deployment import Deployment
    from producer.forecast import forecast
    from schemas.model_files import pin_model
    from schemas.settings import RegistrySettings, load

    sizing.require_sense()
    deployment = Deployment.from_environment()
    spec = scoring.spec(output="nowhere")
    deployment.require_storage(*spec.inputs, *spec.models)
    models_uri = load(RegistrySettings).models_uri
    models = [pin_model(deployment.storage, ref, models_uri) for ref in spec.models]
    made = forecast(deployment.storage, spec, models, progress=FooterProgress())
    made = made.model_copy(update={"sizing": sizing.size(deployment, made)})
    if as_json:
        print_json(made)
    else:
        print_facts(forecast_facts(made, tokens_per_second))


def submit(
    scoring: ScoringOptions,
    output: Output,
    job_id: JobIdOption = None,
    logical_date: LogicalDate = None,
    incremental: Incremental = False,
    reference: DriftReference = None,
    priority: PriorityOption = "normal",
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Start a job on the workers and print its id; the same job again prints the same id.

    With --wait: exit codes as `wait`, and --json prints the summary. With --incremental and
    nothing new: creates nothing, prints the id of the last job that scored what was asked for, and
    waits only if that one has not ended.

    Example: bulkscore submit -i s3://lake/reviews -o s3://lake/scored -m models/sentiment \
--text-column text --id-column review_id --wait
    """
    from producer.deployment import Deployment
    from producer.occasion import occasion
    from producer.submit import submit as send

    started_for = occasion(job_id=job_id, logical_date=logical_date, incremental=incremental)
    deployment = Deployment.from_environment()
    spec = scoring.spec(output, priority=priority, drift_reference=reference)
    done = send(deployment, spec, occasion=started_for, progress=FooterProgress())
    wait = wait and done.resumed is not None
    print_submission(done, as_json=as_json, waits=wait)
    if wait:
        last = follow(deployment, done.manifest, keep_queued=True)
        finish(deployment, done.manifest, last, as_json=as_json, to_stderr=not as_json)


class FooterProgress:
    """Tells on stderr how far the footers are read, where that takes long."""

    def __init__(self) -> None:
        self._next = time.monotonic() + FOOTERS_EVERY_SECONDS

    def __call__(self, done: int, count: int) -> None:
        """Take the number of files whose footer is read, out of all."""
        if time.monotonic() >= self._next:
            say(f"planning: {done:,} of {count:,} files read")
            self._next = time.monotonic() + FOOTERS_EVERY_SECONDS


def print_submission(done: "Submission", *, as_json: bool, waits: bool) -> None:
    """Print the job id as data, and how the job stands as talk."""
    manifest, resumed, increment = done.manifest, done.resumed, done.increment
    if as_json and not waits:
        print_json(submission_facts(done))
    elif as_json:
        say(f"job {manifest.job_id}")
    else:
        print_line(manifest.job_id)
    if increment is not None:
        say_increment(increment)
    for skipped in done.skipped:
        say(f"skipped {skipped.uri} [{skipped.code}]: {skipped.reason}")
    if resumed is None:
        return
    say(f"{manifest.rows:,} rows in {manifest.chunks:,} chunks, {resumed.pending:,} to score")
    if resumed.dead:
        say(f"{resumed.dead:,} chunks are dead: bulkscore dead-letters {manifest.job_id}")
    if not waits and sys.stderr.isatty():
        say(f"follow it with: bulkscore watch {manifest.job_id}")


def submission_facts(done: "Submission") -> dict[str, object]:
    """Return a submission as names and values for JSON; the counts are 0 when nothing was new."""
    manifest, resumed = done.manifest, done.resumed
    return {
        "job_id": manifest.job_id,
        "output": manifest.spec.output,
        "rows": manifest.rows if resumed else 0,
        "chunks": manifest.chunks if resumed else 0,
        "skipped_files": done.skipped,
        "chunks_succeeded": resumed.succeeded if resumed else 0,
        "chunks_dead": resumed.dead if resumed else 0,
        "chunks_pending": resumed.pending if resumed else 0,
        "increment": done.increment,
    }


def model_facts(models: "Sequence[Forecast | NamedForecast]") -> dict[str, object]:
    """Return models as names and values to print, each of several with its name."""
    facts: dict[str, object] = {}
    for model in models:
        name = f" {model.name}" if hasattr(model, "name") else ""
        facts[f"model{name}"] = f"{model.model}, digest {model.model_digest[:12]}"
        facts[f"labels{name}"] = ", ".join(model.labels)
    return facts


def forecast_facts(made: "Forecast", tokens_per_second: int | None) -> dict[str, object]:
    """Return a forecast as names and values to print."""
    rates = (tokens_per_second,) if tokens_per_second else REFERENCE_RATES
    times = ", ".join(f"{duration(made.tokens / r)} at {r:,} tokens/s" for r in rates)
    lengths = "texts cut at" if made.long_text == "truncate" else "long texts in windows of"
    skipped = {f"skipped [{s.code}]": f"{s.uri}: {s.reason}" for s in made.skipped_files}
    return {
        "files": made.files,
        "rows": made.rows,
        "chunks": made.chunks,
        "text": size(made.text_bytes),
        "tokens": f"about {made.tokens:,}, {lengths} {made.max_length}",
        "time": times,
        **sizing_facts(made.sizing),
        **model_facts(made.models or (made,)),
        **skipped,
    }
