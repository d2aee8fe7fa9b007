"""`watch` and `wait`: follow a job to its end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from producer.cli.options import Job, Json, Timeout
from producer.cli.progress_display import display
from producer.cli.stops import state_of, way_on, way_on_from_damage, way_on_from_halt
from producer.cli.terminal import (
    counts,
    duration,
    number_of,
    print_facts,
    print_json,
    say,
)
from schemas.errors import BulkError, ExitCode

if TYPE_CHECKING:
    from producer.deployment import Deployment
    from producer.progress import Progress
    from schemas.job import Manifest
    from schemas.model_account import ModelAccount
    from schemas.summary import RecordedDrift, Summary

PANEL = "Follow jobs"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("watch", rich_help_panel=PANEL)(watch)
    app.command("wait", rich_help_panel=PANEL)(wait)


def watch(job: Job, as_json: Json = False) -> None:
    """Show the progress of a job until it has ended; only looks.

    Should Redis have lost the job, it is entered again from its output.

    With --json: one object a line, the last one with the summary. Of a lifecycle task: what it
    says, and its exit code.

    Example: bulkscore watch nightly-2025-06-01
    """
    from producer.cli.tasks import follow_task
    from producer.deployment import Deployment
    from producer.jobs import find_manifest
    from producer.tasks import Tasks, is_task

    deployment = Deployment.from_environment()
    deployment.require_broker()
    if is_task(job):
        follow_task(Tasks.from_environment(), job, keep_queued=False, as_json=as_json)
    manifest = find_manifest(deployment, job)
    last = follow(deployment, manifest, keep_queued=False, as_json=as_json)
    finish(deployment, manifest, last, as_json=as_json, line=True)


def wait(job: Job, timeout: Timeout = None, as_json: Json = False) -> None:
    """Wait until a job has ended, keep its chunks on the queue meanwhile, and print its summary.

    Exit codes: 0 succeeded, 3 some chunks have no result (dead, cancelled, halted, or stopped by
    --max-dead-chunks), 4 more row errors than --max-row-errors allows, 5 timed out. Of a lifecycle
    task: what it would have ended with here, 3 where it was cancelled or did not come to an end.

    Example: bulkscore wait nightly-2025-06-01 --timeout 3600
    """
    from producer.cli.tasks import follow_task
    from producer.deployment import Deployment
    from producer.jobs import find_manifest
    from producer.tasks import Tasks, is_task

    deployment = Deployment.from_environment()
    deployment.require_broker()
    if is_task(job):
        follow_task(
            Tasks.from_environment(), job, keep_queued=True, timeout=timeout, as_json=as_json
        )
    manifest = find_manifest(deployment, job)
    last = follow(deployment, manifest, keep_queued=True, timeout_seconds=timeout)
    finish(deployment, manifest, last, as_json=as_json)


def follow(
    deployment: "Deployment",
    manifest: "Manifest",
    *,
    keep_queued: bool,
    timeout_seconds: float | None = None,
    as_json: bool = False,
) -> "Progress | None":
    """Show a job's progress until it has ended or the time is over; return the last seen."""
    from producer.watch import Follower

    follower = Follower(deployment, manifest, keep_queued=keep_queued, tell=say)
    last = None
    with way_back(manifest.job_id), display(as_json=as_json) as shown:
        for last in follower.follow(timeout_seconds):
            shown.show(last)
    return last


def finish(
    deployment: "Deployment",
    manifest: "Manifest",
    last: "Progress | None",
    *,
    as_json: bool,
    line: bool = False,
    to_stderr: bool = False,
    advise: "Callable[[Summary, str], list[str]]" = way_on,
) -> None:
    """Print the summary of a job that was followed and exit with what it says.

    Args:
        deployment: Where the object store is.
        manifest: The job.
        last: The progress seen last.
        as_json: Print JSON instead of text,
        line: on one line.
        to_stderr: The summary is talk, because stdout carries other data.
        advise: Says what to do about a job that was stopped.
    """
    from producer.drift_own import record_own_drift
    from producer.watch import exit_code_of
    from schemas.finalize import read_summary
    from schemas.states import JobState

    if last is None or not (last.ended or last.at_rest):
        say(f"timed out; the job goes on: bulkscore wait {manifest.job_id}")
        raise typer.Exit(ExitCode.WAIT_TIMED_OUT)
    try:
        summary = read_summary(deployment.storage, manifest.spec.output)
    except BulkError as error:
        if last.state is JobState.SUCCEEDED:
            raise
        _finish_without_summary(last, error, manifest.spec.output)
        raise typer.Exit(exit_code_of(last)) from None
    try:
        summary = record_own_drift(deployment.storage, manifest, summary)
    except BulkError as error:
        say(f"drift of job {manifest.job_id} is not told: {error}")
    if as_json:
        print_json(summary, line=line)
    else:
        print_facts(summary_facts(summary, manifest.spec.output), to_stderr=to_stderr)
    output = manifest.spec.output
    for advice in (*way_on_from_damage(summary, output), *advise(summary, output)):
        say(advice)
    raise typer.Exit(exit_code_of(summary))


def _finish_without_summary(last: "Progress", error: BulkError, output: str) -> None:
    """Say how a job ended whose summary could not be written, or cannot be read from here."""
    say(f"job {last.job_id} {last.state}, and has no summary that can be read: {error}")
    if last.stopped_message:
        say(way_on_from_halt(last, output))
    else:
        say(f"once that is mended: bulkscore resume {output}")


@contextmanager
def way_back(job_id: str) -> Iterator[None]:
    """On Ctrl-C, say that the job goes on and how to come back to it."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nleft; the job goes on. Come back with: bulkscore watch {job_id}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def came_to(models: "Sequence[ModelAccount]") -> dict[str, object]:
    """Return what each of several models came to as names and values to print."""
    facts: dict[str, object] = {}
    for model in models:
        asked = model.rows_scored + sum(model.errors.values())
        text = f"{model.rows_scored:,} of {asked:,} rows"
        if model.rows_compared:
            share = (model.rows_agreed or 0) / model.rows_compared
            text += f"; the label of the first model in {share:.2%} of {model.rows_compared:,}"
        facts[f"scored by {model.name or 'the first model'}"] = text
    return facts


def _unknown(rate: float | None) -> dict[str, object]:
    return {} if rate is None else {"  unknown to the tokenizer": f"{rate:.3%}"}


def _drift(drifts: "Sequence[RecordedDrift]") -> dict[str, object]:
    if not drifts:
        return {}
    found = ", ".join(f"{d.of} {d.verdict} ({d.psi:.3f})" for d in drifts)
    return {"drift": f"{found} since job {drifts[0].reference}"}


def summary_facts(summary: "Summary", output: str) -> dict[str, object]:
    """Return the summary as names and values to print."""
    took = (summary.finished_at - summary.created_at).total_seconds()
    damaged = summary.chunks_damaged
    missing = summary.chunks - summary.chunks_succeeded - summary.chunks_dead - damaged
    return {
        "job": summary.job_id,
        "state": state_of(summary),
        "rows": summary.rows,
        "  scored": summary.rows_scored,
        "  with an error": f"{summary.rows_error:,} ({counts(summary.errors)})",
        "  in dead chunks": f"{summary.rows_dead:,} ({counts(summary.dead_by_code)})",
        "  not scored": summary.rows_missing,
        **came_to(summary.models),
        "chunks": f"{summary.chunks_succeeded:,} succeeded, {summary.chunks_dead:,} dead, "
        f"{missing:,} not scored{f', {damaged:,} damaged' if damaged else ''}",
        "tokens": f"{summary.tokens:,} ({summary.truncated_rows:,} rows truncated)",
        **_unknown(summary.unknown_token_rate),
        **_drift(summary.drift),
        "skipped files": len(summary.skipped_files),
        "took": f"{duration(took)}; {duration(summary.scoring_seconds)} of scoring, summed over "
        f"{number_of(len(summary.workers), 'worker')}",
        "output": output,
    }
