"""Where a lifecycle task is, from what Redis and its record know of it."""

from datetime import UTC, datetime
from typing import cast

from schemas.dead_letter import AttemptRecord
from schemas.errors import ExitCode
from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.record import Record
from schemas.states import ChunkState
from schemas.task_queue import ONLY
from schemas.task_record import Kind, TaskFolder, TaskOutcome

# Ends that are none of the command's own, and so have no exit code of its own.
_NO_END = frozenset({"poison", "process_killed", "task_timed_out"})


class TaskReport(Record):
    """Where a task is. `attempts` are those begun, `failed` those that did not end it."""

    job_id: str
    kind: Kind
    state: ChunkState
    attempts: int
    progress: str
    record: str
    opened_at: datetime
    closed_at: datetime | None = None
    failed: tuple[AttemptRecord, ...] = ()
    workers: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    reprocess_of: str | None = None
    outcome: TaskOutcome | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will be done."""
        return self.outcome is not None

    @property
    def exit_code(self) -> int:
        """What the command would have ended with, 3 where it never came to an end of its own."""
        if self.outcome is None:
            return ExitCode.WAIT_TIMED_OUT
        if self.outcome.state == "cancelled" or self.outcome.code in _NO_END:
            return ExitCode.DEAD_CHUNKS
        return self.outcome.exit_code


def live_report(ledger: Ledger, status: JobStatus) -> TaskReport:
    """Return what the ledger knows of a task."""
    task_id = status.job_id
    attempts, progress = ledger.under_way(task_id, ONLY)
    return TaskReport(
        job_id=task_id,
        kind=cast("Kind", task_id.partition("-")[0]),
        state=next(state for state, count in status.chunks.items() if count),
        attempts=attempts,
        progress=progress,
        record=status.output,
        opened_at=datetime.fromtimestamp(status.opened, UTC),
        closed_at=datetime.fromtimestamp(status.closed, UTC) if status.closed else None,
        failed=ledger.history(task_id, ONLY),
        workers=tuple(ledger.workers(task_id)),
    )


def full_report(ledger: Ledger, status: JobStatus | None, folder: TaskFolder) -> TaskReport:
    """Return all that is known of a task; the ledger may have lost it (`status` is None).

    Raises:
        JobUnknown: There is no record of it.
    """
    task, outcome = folder.task(), folder.outcome()
    if status is not None:
        report = live_report(ledger, status)
    else:
        report = TaskReport(
            job_id=task.task_id,
            kind=task.kind,
            state=ChunkState.QUEUED,
            attempts=0,
            progress="",
            record=folder.uri,
            opened_at=task.created_at,
        )
    asked = {"arguments": task.arguments, "reprocess_of": task.reprocess_of}
    if outcome is None:
        return report.model_copy(update=asked)
    ended = {
        **asked,
        "kept": tuple(f"{folder.uri}/{name}" for name in task.keeps),
        "state": ChunkState(outcome.state),
        "attempts": outcome.attempt or report.attempts,
        "progress": "",
        "closed_at": outcome.ended_at,
        "failed": outcome.attempts,
        "outcome": outcome,
    }
    return report.model_copy(update=ended)
