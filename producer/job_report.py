"""Where a job is, as a record: from the ledger, or from the object store alone."""

import contextlib
from datetime import UTC, datetime
from typing import Literal

from producer.deployment import Deployment
from schemas import layout
from schemas.errors import BrokerUnavailable, JobUnknown, PermanentError
from schemas.finalize import read_summary
from schemas.job import JobId, Manifest, Priority, Record
from schemas.job_status import JobStatus
from schemas.model_account import ModelAccount
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.survey import survey, tally

Source = Literal["ledger", "storage"]


class JobReport(Record):
    """Where a job is, as `jobs` and `show` print it.

    `stopped_by` is the error budget that was passed, or the code of the error that halted the job,
    which `stopped_message` says in words. `max_row_errors` and `max_dead_chunks` are what the
    budgets allow, None for any number.
    """

    job_id: JobId
    output: str
    state: JobState
    stopped_by: str | None
    stopped_message: str
    max_row_errors: int | None
    max_dead_chunks: int | None
    source: Source
    priority: Priority
    generation: int
    chunks: int
    chunk_states: dict[str, int]
    rows: int
    rows_scored: int
    rows_error: int
    rows_dead: int
    row_errors: dict[str, int]
    dead_by_code: dict[str, int]
    tokens: int
    truncated_rows: int
    scoring_seconds: float
    opened_at: datetime
    closed_at: datetime | None

    @property
    def rows_done(self) -> int:
        """Rows that need no more work."""
        return self.rows_scored + self.rows_error + self.rows_dead

    @property
    def chunks_dead(self) -> int:
        """Chunks that were buried and not sent again."""
        return self.chunk_states[ChunkState.DEAD]


class JobDetails(Record):
    """All that `show` knows of a job.

    Attributes:
        workers: Those that hold a lease now, or scored it if it has ended.
        models: What each of several models came to, once it has ended.
        files: Number of input files, whose list is left out of `manifest`.
    """

    job: JobReport
    workers: tuple[str, ...]
    models: tuple[ModelAccount, ...]
    files: int
    manifest: Manifest


def job_report(deployment: Deployment, manifest: Manifest) -> JobReport:
    """Return where a job is, from the object store when the ledger cannot say."""
    try:
        return report_of(deployment.ledger.status(manifest.job_id), "ledger")
    except (JobUnknown, BrokerUnavailable):
        return report_of(status_from_storage(deployment.storage, manifest), "storage")


def job_details(deployment: Deployment, manifest: Manifest) -> JobDetails:
    """Return where a job is, who works on it and what it is."""
    report = job_report(deployment, manifest)
    workers: tuple[str, ...] = ()
    models: tuple[ModelAccount, ...] = ()
    if report.closed_at is not None:
        with contextlib.suppress(PermanentError):  # a halted job may have ended without a summary
            summary = read_summary(deployment.storage, report.output)
            workers, models = summary.workers, summary.models
    elif report.source == "ledger":
        workers = tuple(deployment.ledger.workers(manifest.job_id))
    return JobDetails(
        job=report,
        workers=workers,
        models=models,
        files=len(manifest.files),
        manifest=manifest.model_copy(update={"files": ()}),
    )


def report_of(status: JobStatus, source: Source) -> JobReport:
    """Return a status as the record that is printed."""
    return JobReport(
        job_id=status.job_id,
        output=status.output,
        state=status.state,
        stopped_by=status.stopped_by,
        stopped_message=status.stopped_message,
        max_row_errors=status.limits.rows_error,
        max_dead_chunks=status.limits.chunks_dead,
        source=source,
        priority=status.priority,
        generation=status.generation,
        chunks=status.chunk_count,
        chunk_states={state.value: count for state, count in status.chunks.items()},
        rows=status.rows,
        rows_scored=status.rows_scored,
        rows_error=status.rows_error,
        rows_dead=status.rows_dead,
        row_errors=dict(status.row_errors),
        dead_by_code=dict(status.dead_by_code),
        tokens=status.tokens,
        truncated_rows=status.truncated_rows,
        scoring_seconds=status.scoring_seconds,
        opened_at=datetime.fromtimestamp(status.opened, UTC),
        closed_at=None if status.closed is None else datetime.fromtimestamp(status.closed, UTC),
    )


def status_from_storage(storage: Storage, manifest: Manifest) -> JobStatus:
    """Return where a job is by its objects alone; one that has not ended counts as planning."""
    found = survey(storage, manifest)
    sums = tally(storage, manifest, found)
    output = manifest.spec.output
    has_summary = storage.exists(layout.summary(output))
    summary = read_summary(storage, output) if has_summary else None
    states = [found.state_of(chunk) for chunk in range(manifest.chunks)]
    return JobStatus(
        job_id=manifest.job_id,
        output=output,
        priority=manifest.spec.priority,
        state=summary.state if summary else JobState.PLANNING,
        generation=found.generation,
        chunks={state: states.count(state) for state in ChunkState},
        chunk_count=manifest.chunks,
        rows=manifest.rows,
        rows_scored=sums.rows_scored,
        rows_error=sums.rows_error,
        rows_dead=sums.rows_dead,
        tokens=sums.tokens,
        truncated_rows=sums.truncated_rows,
        scoring_seconds=sums.scoring_seconds,
        row_errors=dict(sums.row_errors),
        dead_by_code=dict(sums.dead_by_code),
        limits=found.limits,
        stopped_by=summary.stopped_by if summary else None,
        stopped_message=summary.stopped_message if summary else "",
        opened=manifest.created_at.timestamp(),
        closed=summary.finished_at.timestamp() if summary else None,
        now=datetime.now(UTC).timestamp(),
    )
