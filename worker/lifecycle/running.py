"""Runs lifecycle tasks: begin, hold the lease, let the module work, and enter how it ended.

The order is that of chunks (`worker.runner`): the attempt is counted before the work, the outcome
is created once on the object store, then the ledger hears of it.
"""

import logging
import math
import uuid
from collections.abc import Callable
from pathlib import Path

from schemas.complaints import Complaints
from schemas.errors import (
    BulkError,
    LeaseLost,
    Poison,
    StorageUnavailable,
    UnexpectedError,
    VersionUnknown,
)
from schemas.ledger import Ledger
from schemas.logs import describe
from schemas.settings import ScheduleSettings
from schemas.states import TERMINAL_CHUNK_STATES
from schemas.storage import Storage
from schemas.task_queue import ONLY
from schemas.task_record import Ending, TaskFolder, TaskOutcome
from worker.heartbeat import HandBack, Heartbeat
from worker.lifecycle.child import TaskProcess, clear_ended, work_folder
from worker.lifecycle.task_attempt import TaskAttempt
from worker.lifecycle.task_work import follow, judged
from worker.retry import Retry, decide

logger = logging.getLogger(__name__)

# How often the lease is renewed at least, which is also how soon a cancelled task ends.
HEARTBEAT_SECONDS = 2.0
# How long a task waits for an object store that does not answer.
STORAGE_PAUSE_SECONDS = 30.0
# How soon somebody may look again at a task that a later release recorded.
OTHERS_SECONDS = 5.0


class TaskRunner:
    """Runs attempts at lifecycle tasks, one after the other.

    Args:
        ledger: Of the tasks.
        storage: Where the records are.
        schedule: Leases, attempts, back-off.
        folder: Tasks work in folders of it.
        time_limit_seconds: For one attempt.
        worker: The name under which leases are held.
        draining: Says whether the worker is shutting down.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        storage: Storage,
        schedule: ScheduleSettings,
        folder: Path,
        time_limit_seconds: float,
        worker: str,
        draining: Callable[[], bool],
    ) -> None:
        self._ledger, self._storage, self._schedule = ledger, storage, schedule
        self._folder, self._limit = folder, time_limit_seconds
        self._worker, self._draining = worker, draining
        self._complaints = Complaints(logger)

    def run(self, task_id: str) -> str:
        """Make one attempt at a task and return how it ended.

        Raises:
            JobUnknown: The ledger does not know it; the reconciler enters it again.
            BrokerUnavailable: The ledger does not answer; the lease will run out.
        """
        lease_ms = int(self._schedule.lease_seconds * 1000)
        token = uuid.uuid4().hex
        begin = self._ledger.begin(
            task_id,
            ONLY,
            token=token,
            worker=self._worker,
            lease_ms=lease_ms,
            max_attempts=self._schedule.max_attempts,
        )
        if begin.outcome not in ("begun", "poison"):
            return begin.outcome
        attempt = TaskAttempt(
            ledger=self._ledger,
            record=TaskFolder(self._storage, self._ledger.status(task_id).output),
            folder=self._folder / task_id,
            task_id=task_id,
            number=begin.attempt,
            token=token,
            worker=self._worker,
            lease_ms=lease_ms,
        )
        with self._heartbeat(attempt) as heartbeat:
            try:
                outcome = self._outcome(attempt, heartbeat, hopeless=begin.outcome == "poison")
                return attempt.enter(outcome)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                return self._failed(attempt, error)

    def _outcome(
        self, attempt: TaskAttempt, heartbeat: Heartbeat, *, hopeless: bool
    ) -> TaskOutcome:
        """Return how the task ended, after doing it if it has not."""
        outcome = attempt.outcome()
        if outcome is not None:
            return outcome
        task = attempt.record.task()
        if hopeless:
            raise Poison(
                f"{self._schedule.max_attempts} attempts at task {task.task_id} were begun and did "
                "not come to an end; see `show --log` and the logs of the workers"
            )
        clear_ended(
            self._folder,
            lambda task_id: self._ledger.state_of(task_id, ONLY) in TERMINAL_CHUNK_STATES,
        )
        with work_folder(attempt.folder) as lock:
            for name, content in task.files.items():
                (attempt.folder / name).write_text(content, encoding="utf-8")
            module = f"worker.lifecycle.{task.kind}"
            process = TaskProcess(module, task.arguments, attempt.folder, lock)
            try:
                code = follow(
                    process,
                    advance=heartbeat.advance,
                    tell=attempt.tell,
                    keep_log=lambda: attempt.keep_log(process),
                    limit_seconds=self._limit,
                )
            finally:
                process.end()
                attempt.keep_log(process)
            ended = judged(process, code)
            attempt.keep(task.keeps)
            state: Ending = "dead" if ended.error else "succeeded"
            return attempt.end(state, ended.exit_code, error=ended.error, printed=ended.printed)

    def _failed(self, attempt: TaskAttempt, error: BaseException) -> str:
        """Enter an attempt that did not bring the task to its end."""
        if isinstance(error, HandBack):
            attempt.hand_back()
            if not self._draining():  # it was cancelled
                attempt.clear()
            return "handed_back"
        if isinstance(error, LeaseLost):
            # Of no effect where another attempt has the lease; else what is in the way may go.
            attempt.hand_back(self._schedule.lease_seconds)
            return "lease_lost"
        if isinstance(error, VersionUnknown):
            self._complaints.warn(
                f"task {attempt.task_id} is left to others", error, action="left_to_others"
            )
            attempt.hand_back(OTHERS_SECONDS)
            return "handed_back"
        if isinstance(error, StorageUnavailable) and not self._answers(attempt):
            # That costs no attempt, as with chunks.
            attempt.hand_back(STORAGE_PAUSE_SECONDS)
            return "handed_back"
        if not isinstance(error, BulkError):
            error = UnexpectedError(describe(error))
        decision = decide(error, attempt.number, self._schedule)
        if isinstance(decision, Retry):
            attempt.retry(error, decision.delay_seconds)
            return "retrying"
        outcome = attempt.end("dead", int(error.exit_code), error=error)
        try:
            return attempt.enter(outcome)
        except StorageUnavailable:
            attempt.hand_back(STORAGE_PAUSE_SECONDS)
            return "handed_back"

    def _answers(self, attempt: TaskAttempt) -> bool:
        """Say whether the object store with the record answers."""
        try:
            self._storage.probe(attempt.record.uri)
        except BulkError as error:
            logger.warning("task %s waits: %s", attempt.task_id, error, extra=attempt.names)
            return False
        return True

    def _heartbeat(self, attempt: TaskAttempt) -> Heartbeat:
        return Heartbeat(
            attempt.heartbeat,
            every_seconds=min(HEARTBEAT_SECONDS, self._schedule.lease_seconds / 3),
            stall_seconds=math.inf,
            time_limit_seconds=math.inf,
            draining=self._draining,
        )
