"""A job as the ledger sees it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from schemas.budget import Halt, Limits
from schemas.job import Priority
from schemas.states import ChunkState, JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job as the ledger sees it now. Times are seconds since the epoch, by Redis' clock.

    `stopped_by` is the one of `limits` that was passed, or the code of the error that halted the
    job; then `stopped_message` says it in words.
    """

    job_id: str
    output: str
    priority: Priority
    state: JobState
    generation: int
    chunks: Mapping[ChunkState, int]
    chunk_count: int
    rows: int
    rows_scored: int
    rows_error: int
    rows_dead: int
    tokens: int
    truncated_rows: int
    scoring_seconds: float
    row_errors: Mapping[str, int]
    dead_by_code: Mapping[str, int]
    limits: Limits
    stopped_by: str | None
    stopped_message: str
    opened: float
    closed: float | None
    now: float

    @property
    def pending(self) -> int:
        """Chunks that are queued, running or retrying."""
        waiting = (ChunkState.QUEUED, ChunkState.RUNNING, ChunkState.RETRYING)
        return sum(self.chunks[state] for state in waiting)

    @property
    def rows_done(self) -> int:
        """Rows that need no more work."""
        return self.rows_scored + self.rows_error + self.rows_dead

    @property
    def halt(self) -> Halt | None:
        """The error that halted the job."""
        if self.stopped_by is None or not self.stopped_message:
            return None
        return Halt(code=self.stopped_by, message=self.stopped_message)

    @property
    def ended(self) -> bool:
        """Whether the job is closed: its summary is written, or cannot be."""
        return self.closed is not None


def parse_status(
    job_id: str, job: dict[str, str], codes: dict[str, str], *, now: float
) -> JobStatus:
    """Return the status that the ledger's hashes `job` and `codes` hold; see `ledger.lua`."""

    def number(name: str) -> int:
        return int(job.get(name, 0))

    def limit(name: str) -> int | None:
        return int(job[name]) if name in job else None

    def counts(kind: str) -> dict[str, int]:
        prefix = f"{kind}:"
        found = {k.removeprefix(prefix): int(v) for k, v in codes.items() if k.startswith(prefix)}
        return {code: count for code, count in sorted(found.items()) if count}

    return JobStatus(
        job_id=job_id,
        output=job["output"],
        priority=cast("Priority", job["priority"]),
        state=JobState(job["state"]),
        generation=number("generation"),
        chunks={state: number(state.value) for state in ChunkState},
        chunk_count=number("chunks"),
        rows=number("rows"),
        rows_scored=number("rows_scored"),
        rows_error=number("rows_error"),
        rows_dead=number("rows_dead"),
        tokens=number("tokens"),
        truncated_rows=number("truncated_rows"),
        scoring_seconds=float(job.get("scoring_seconds", 0)),
        row_errors=counts("row"),
        dead_by_code=counts("chunk"),
        limits=Limits(rows_error=limit("max_rows_error"), chunks_dead=limit("max_chunks_dead")),
        stopped_by=job.get("stopped_by"),
        stopped_message=job.get("stopped_message", ""),
        opened=float(job["opened"]),
        closed=float(job["closed"]) if "closed" in job else None,
        now=now,
    )
