"""One attempt at a lifecycle task, as ledger and object store see it."""

import contextlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from schemas.dead_letter import AttemptRecord
from schemas.errors import BrokerUnavailable, BulkError
from schemas.ledger import LeaseState, Ledger
from schemas.record import parse_record
from schemas.task_queue import ONLY, enter_outcome
from schemas.task_record import Ending, TaskFolder, TaskOutcome
from worker.dead_letters import record_of
from worker.lifecycle.child import TaskProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttempt:
    """An attempt that holds the lease by its `token`; `folder` is where it works."""

    ledger: Ledger
    record: TaskFolder
    folder: Path
    task_id: str
    number: int
    token: str
    worker: str
    lease_ms: int

    @property
    def names(self) -> dict[str, object]:
        """What goes beside a line of the log."""
        return {"job_id": self.task_id, "attempt": self.number}

    def heartbeat(self) -> LeaseState:
        """Renew the lease."""
        return self.ledger.heartbeat(self.task_id, ONLY, token=self.token, lease_ms=self.lease_ms)

    def hand_back(self, delay_seconds: float = 0.0) -> None:
        """Give the task up uncharged, to be begun again after some seconds."""
        delay_ms = int(delay_seconds * 1000)
        self.ledger.hand_back(self.task_id, ONLY, token=self.token, delay_ms=delay_ms)

    def retry(self, error: BulkError, delay_seconds: float) -> None:
        """Set the task aside after an error that may pass."""
        logger.warning(
            "task %s failed at attempt %d [%s], next in %.1f s: %s",
            self.task_id,
            self.number,
            error.code,
            delay_seconds,
            error,
            extra={**self.names, "action": "retrying", "code": error.code},
        )
        record = record_of(error, attempt=self.number, worker=self.worker)
        delay_ms = int(delay_seconds * 1000)
        self.ledger.retry(self.task_id, ONLY, token=self.token, delay_ms=delay_ms, record=record)

    def tell(self, line: str) -> None:
        """Make known how far the work is."""
        logger.info("task %s: %s", self.task_id, line, extra=self.names)
        # Work does not stop for a Redis that is away; a lost lease is the heartbeat's to notice.
        with contextlib.suppress(BulkError):
            self.ledger.note(self.task_id, ONLY, token=self.token, trail=line)

    def keep_log(self, process: TaskProcess) -> None:
        """Put the log where it can be read; that it cannot be is no reason to end the work."""
        try:
            self.record.write_log(self.number, process.log())
        except BulkError as error:
            logger.warning("log not kept: %s", error, extra=self.names)

    def keep(self, names: Sequence[str]) -> None:
        """Put files of these names, as far as the work has made them, beside the record.

        Raises:
            StorageUnavailable: They are still beside the work.
        """
        for name in names:
            if (self.folder / name).is_file():
                self.record.keep(self.folder / name)

    def outcome(self) -> TaskOutcome | None:
        """Return how the task ended, if an earlier attempt came so far."""
        found = self.record.outcome()
        if found is not None or not self._beside.exists():
            return found
        return parse_record(TaskOutcome, self._beside.read_bytes(), str(self._beside))

    def end(
        self, state: Ending, exit_code: int, *, error: BulkError | None = None, printed: str = ""
    ) -> TaskOutcome:
        """Return the outcome of this attempt, written down beside the work.

        So it is not lost when the object store cannot be told of it at once.
        """
        attempts: tuple[AttemptRecord, ...] = ()
        with contextlib.suppress(BrokerUnavailable):  # the record is the object store's to keep
            attempts = self.ledger.history(self.task_id, ONLY)
        if error is not None:
            record = record_of(error, attempt=self.number, worker=self.worker)
            attempts = (*attempts, record)
        made = TaskOutcome(
            task_id=self.task_id,
            state=state,
            code=error.code if error else "",
            message=str(error) if error else "",
            exit_code=exit_code,
            printed=printed,
            worker=self.worker,
            attempt=self.number,
            ended_at=datetime.now(UTC),
            attempts=attempts,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._beside.with_suffix(".new")
        new.write_text(made.model_dump_json(), encoding="utf-8")
        new.rename(self._beside)
        return made

    def enter(self, outcome: TaskOutcome) -> str:
        """Enter an outcome on the object store, in the ledger then, and clear the work away.

        Raises:
            StorageUnavailable: It is not entered; it stays beside the work.
        """
        entered = self.record.end(outcome)
        enter_outcome(self.ledger, entered, token=self.token)
        self.clear()
        return entered.state

    def clear(self) -> None:
        """Clear the work away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _beside(self) -> Path:
        return self.folder / "outcome.json"
