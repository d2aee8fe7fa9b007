"""`logs`, and how one chunk is shown: the why of a failure."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Job, Json
from producer.cli.terminal import (
    counts,
    print_facts,
    print_json,
    print_line,
    row_range,
    say,
)
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producer.chunk_report import ChunkReport
    from schemas.attempt_log import AttemptEvent, AttemptView

PANEL = "Follow jobs"

ChunkFilter = Annotated[
    int | None,
    typer.Option("--chunk", min=0, metavar="N", help="Of this chunk alone.", show_default=False),
]
CodeFilter = Annotated[
    str | None,
    typer.Option(
        "--code", metavar="C", help="Of attempts that ended with this code.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("logs", rich_help_panel=PANEL)(logs)


def logs(
    job: Job,
    chunk: ChunkFilter = None,
    code: CodeFilter = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what happened to the chunks of a job: attempts that began and ended, and warnings.

    The ledger keeps the last 4,000 events of a job. Where it is lost, failures are in dead letters.

    Example: bulkscore logs nightly-2025-06-01 --code input_corrupt
    """
    from producer.chunk_report import require_chunk
    from producer.deployment import Deployment
    from producer.job_log import follow_log, kept_log
    from producer.jobs import find_manifest
    from producer.tasks import is_task

    if is_task(job):
        raise UsageError(f"{job} is a lifecycle task, see `bulkscore show {job} --log`")
    deployment = Deployment.from_environment()
    manifest = find_manifest(deployment, job)
    if chunk is not None:
        require_chunk(manifest, chunk)
    events, known = kept_log(deployment, manifest)

    def tell(event: "AttemptEvent") -> None:
        if chunk not in (None, event.chunk) or code not in (None, event.code):
            return
        if as_json:
            print_json(event, line=True)
            return
        for line in event_lines(event):
            print_line(line)

    for event in events:
        tell(event)
    if not known:
        say("not known to the ledger; these are the attempts that its dead letters tell of")
    elif follow:
        for event in follow_log(deployment, manifest, events):
            tell(event)


def event_lines(event: "AttemptEvent") -> list[str]:
    """Return an event as lines to read: the warnings of an attempt, then how it ended."""
    named = f"chunk {event.chunk}"
    if event.attempt is not None:
        named += f" attempt {event.attempt}"
    if event.generation:
        named += f" generation {event.generation}"
    lines = [
        f"{line.at:%Y-%m-%d %H:%M:%S}  {named}  {line.level}: {line.message}"
        for line in event.lines
    ]
    told = [event.outcome or event.event]
    if event.code:
        told.append(f"[{event.code}] {event.message}")
    if event.seconds is not None:
        told.append(f"after {event.seconds:.1f} s ({stage_times(event.stages)})")
    lines.append(f"{event.at:%Y-%m-%d %H:%M:%S}  {named}  {' '.join(told)}  {event.worker}")
    return lines


def print_chunk(report: "ChunkReport") -> None:
    """Print one chunk: where it lies, what became of it, each attempt, and how to try it here."""
    account, letter = report.result, report.dead_letter
    facts: dict[str, object] = {
        "job": report.job_id,
        "chunk": report.chunk,
        "state": str(report.state),
        "model": report.model,
        "file": report.file,
        "rows": row_range(report.row_start, report.rows),
    }
    if account is not None:
        facts |= {
            "result": report.result_uri,
            "scored": f"{account.rows_scored:,} of {account.rows:,} rows",
            "with an error": counts(account.errors),
            "attempt": f"{account.attempt} of generation {account.generation}",
            "worker": f"{account.worker} on {account.device}, {account.seconds:.1f} s",
            "stages": stage_times(account.stages),
        }
    if letter is not None:
        facts |= {
            "died of": letter.code,
            "message": letter.message,
            "row group": letter.row_group,
            "first bad row": letter.first_bad_row,
        }
    print_facts({name: value for name, value in facts.items() if value is not None})
    for attempt in report.attempts:
        print_line("")
        print_facts(attempt_facts(attempt))
    if letter is not None:
        print_line(f"\n{letter.traceback.rstrip()}")
    say(f"\nto score it again on this machine: {report.reproduce}")
    if letter is not None:
        again = shlex.join(["bulkscore", "reprocess", report.job_id, "--chunk", str(report.chunk)])
        say(f"once that is mended: {again}")


def attempt_facts(attempt: "AttemptView") -> dict[str, object]:
    """Return an attempt as names and values to print."""
    generation = f" of generation {attempt.generation}" if attempt.generation else ""
    began, ended = attempt.began_at, attempt.ended_at
    took = "" if attempt.seconds is None else f", {attempt.seconds:.1f} s"
    facts = {
        f"attempt {attempt.number}{generation}": attempt.outcome,
        "  began": began and f"{began:%Y-%m-%d %H:%M:%S}",
        "  ended": ended and f"{ended:%Y-%m-%d %H:%M:%S}{took}",
        "  worker": attempt.worker,
        "  code": attempt.code,
        "  message": attempt.message,
        "  exception": attempt.exception,
        "  stages": stage_times(attempt.stages) if attempt.stages else None,
    }
    facts |= {
        f"  {line.level} {number}": line.message for number, line in enumerate(attempt.lines, 1)
    }
    return {name: value for name, value in facts.items() if value is not None}


def stage_times(stages: "Mapping[str, float]") -> str:
    """Return the seconds of each stage as one phrase."""
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in stages.items()) or "not known"
