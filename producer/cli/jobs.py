"""`jobs`, `show` and `cancel`: what jobs there are, where one is, and stopping one."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.chunk_logs import print_chunk
from producer.cli.options import Job, Json
from producer.cli.stops import state_of, way_on
from producer.cli.tasks import print_tasks, show_task
from producer.cli.terminal import (
    counts,
    duration,
    print_facts,
    print_json,
    print_line,
    print_table,
    say,
)
from producer.cli.watching import came_to
from schemas.errors import UsageError

if TYPE_CHECKING:
    from producer.job_report import JobDetails
    from schemas.job import Manifest

PANEL = "Follow jobs"

ChunkOption = Annotated[
    int | None,
    typer.Option(
        "--chunk", min=0, metavar="N", help="Only this chunk, in full.", show_default=False
    ),
]
LogOption = Annotated[
    bool, typer.Option("--log", help="The end of what the last attempt at a lifecycle task said.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("jobs", rich_help_panel=PANEL)(jobs)
    app.command("show", rich_help_panel=PANEL)(show)
    app.command("cancel", rich_help_panel=PANEL)(cancel)


def jobs(as_json: Json = False) -> None:
    """List the jobs and the lifecycle tasks of the last 30 days, the newest first.

    Example: bulkscore jobs
    """
    from producer.deployment import Deployment
    from producer.jobs import known_jobs
    from producer.tasks import Tasks

    deployment = Deployment.from_environment()
    reports = known_jobs(deployment)
    tasks = Tasks.from_environment().known()
    if as_json:
        print_json([*reports, *tasks])
        return
    if reports:
        print_table(
            ("job", "state", "#rows", "#done", "#dead chunks", "opened", "output"),
            (
                (r.job_id, r.state, r.rows, r.rows_done, r.chunks_dead, when, r.output)
                for r in reports
                for when in (f"{r.opened_at:%Y-%m-%d %H:%M}",)
            ),
        )
    if reports and tasks:
        print_line("")
    if tasks:
        print_tasks(tasks)
    if not (reports or tasks):
        say("the ledger knows no job; start one with `bulkscore submit`")


def show(
    job: Job, chunk: ChunkOption = None, log: LogOption = False, as_json: Json = False
) -> None:
    """Show where a job is: rows, chunks, errors, model, workers. Or one of its chunks.

    Of a chunk: each attempt, why it failed, and the command that tries it on this machine. Of a
    lifecycle task: its progress and attempts, and what it printed.

    Example: bulkscore show nightly-2025-06-01 --chunk 42
    """
    from producer.chunk_report import chunk_report
    from producer.deployment import Deployment
    from producer.job_report import job_details
    from producer.jobs import find_manifest
    from producer.tasks import Tasks, is_task

    deployment = Deployment.from_environment()
    if is_task(job):
        if chunk is not None:
            raise UsageError("--chunk is for jobs, a task has none")
        show_task(Tasks.from_environment(), job, log=log, as_json=as_json)
        return
    if log:
        raise UsageError("--log is for lifecycle tasks; for chunks see `bulkscore logs`")
    manifest = find_manifest(deployment, job)
    if chunk is not None:
        report = chunk_report(deployment, manifest, chunk)
        print_json(report) if as_json else print_chunk(report)
        return
    details = job_details(deployment, manifest)
    if details.job.source == "storage":
        say(f"not known to the ledger, this is what lies under {details.job.output}")
    print_json(details) if as_json else print_facts(job_facts(details))
    for line in way_on(details.job, details.job.output):
        say(line)


def cancel(job: Job, as_json: Json = False) -> None:
    """Stop a job: its waiting chunks are not scored; results that exist stay.

    `bulkscore resume OUTPUT --uncancel` lets it go on. A lifecycle task that runs is ended.

    Example: bulkscore cancel nightly-2025-06-01
    """
    from producer.deployment import Deployment
    from producer.jobs import cancel as stop
    from producer.jobs import find_manifest
    from producer.tasks import Tasks, is_task

    deployment = Deployment.from_environment()
    deployment.require_broker()
    if is_task(job):
        outcome = Tasks.from_environment().cancel(job)
        print_json(outcome) if as_json else print_line(f"task {outcome.task_id} is cancelled")
        return
    manifest = find_manifest(deployment, job)
    count = stop(deployment, manifest)
    if as_json:
        print_json({"job_id": manifest.job_id, "chunks_cancelled": count})
    else:
        print_line(f"job {manifest.job_id} is cancelled: {count:,} chunks will not be scored")


def job_facts(details: "JobDetails") -> dict[str, object]:
    """Return a job as names and values to print."""
    job, manifest = details.job, details.manifest
    rate = job.tokens / job.scoring_seconds if job.scoring_seconds else None
    closed = job.closed_at and f"{job.closed_at:%Y-%m-%d %H:%M:%S}"
    took = job.closed_at and duration((job.closed_at - job.opened_at).total_seconds())
    return {
        "job": job.job_id,
        "state": state_of(job),
        "chunks": f"{job.chunks:,}: {counts(job.chunk_states)}",
        "rows": job.rows,
        "  scored": job.rows_scored,
        "  with an error": f"{job.rows_error:,} ({counts(job.row_errors)})",
        "  in dead chunks": f"{job.rows_dead:,} ({counts(job.dead_by_code)})",
        "tokens": f"{job.tokens:,} ({job.truncated_rows:,} rows truncated)",
        "rate": rate and f"{rate:,.0f} tokens/s by one worker while it scores",
        **model_facts(manifest),
        **came_to(details.models),
        "input": ", ".join(manifest.spec.inputs),
        "output": job.output,
        "files": f"{details.files:,}, {len(manifest.skipped):,} skipped",
        "priority": job.priority,
        "generation": job.generation,
        "workers": ", ".join(details.workers) or "none",
        "opened": f"{job.opened_at:%Y-%m-%d %H:%M:%S}",
        "closed": closed and f"{closed}, after {took}",
    }


def model_facts(manifest: "Manifest") -> dict[str, object]:
    """Return the models of a job as names and values to print, each of several with its name."""
    facts: dict[str, object] = {}
    for suffix, model in zip(manifest.spec.suffixes, manifest.models, strict=True):
        name = f" {suffix.removeprefix('_')}" if suffix else ""
        facts[f"model{name}"] = f"{model.ref}, digest {model.digest[:12]}"
        facts[f"labels{name}"] = ", ".join(model.labels)
    if canary := manifest.spec.canary:
        facts["canary scores"] = f"{canary.percent:g} % of the rows, drawn by seed {canary.seed}"
    if reference := manifest.spec.drift_reference:
        facts["drift against"] = reference
    return facts
