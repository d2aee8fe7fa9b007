"""Where a job is, as a record: from the ledger, or from the object store alone."""

from datetime import UTC, datetime
from typing import Literal

from schemas import layout
from schemas.finalize import read_summary
from schemas.job import JobId, Manifest, Priority, Record
from schemas.ledger import JobStatus
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.survey import survey, tally

Source = Literal["ledger", "storage"]


class JobReport(Record):
    """Where a job is, as `jobs` and `show` print it."""

    job_id: JobId
    output: str
    state: JobState
    source: Source
    priority: Priority
    generation: int
    chunks: int
    chunk_states: dict[ChunkState, int]
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


def report_of(status: JobStatus, source: Source) -> JobReport:
    """Return a status as the record that is printed."""
    return JobReport(
        job_id=status.job_id,
        output=status.output,
        state=status.state,
        source=source,
        priority=status.priority,
        generation=status.generation,
        chunks=status.chunk_count,
        chunk_states=dict(status.chunks),
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
        opened=manifest.created_at.timestamp(),
        closed=summary.finished_at.timestamp() if summary else None,
        now=datetime.now(UTC).timestamp(),
    )
