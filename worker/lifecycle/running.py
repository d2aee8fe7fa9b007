"""Runs lifecycle tasks: begin, hold the lease, let the module work, and enter how it ended.

The order is that of chunks (`worker.runner`): the attempt is counted before the work, the outcome
is created once on the object store, then the ledger hears of it.
"""

import logging
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import (
    BulkError,
    ExitCode,
    LeaseLost,
    Poison,
    ProcessKilled,
    StorageUnavailable,
    TaskTimedOut,
    TransientError,
    UnexpectedError,
)
from schemas.ledger import Ledger
from schemas.settings import ScheduleSettings
from schemas.storage import Storage
from schemas.task_queue import ONLY, enter_outcome
from schemas.task_record import Ending, TaskFolder, TaskOutcome
from worker.dead_letters import describe, record_of
from worker.heartbeat import HandBack, Heartbeat
from worker.lifecycle.child import TaskProcess, work_folder
from worker.retry import Retry, decide

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
# How often the lease is renewed at most, which is also how soon a cancelled task ends.
HEARTBEAT_SECONDS = 2.0
# How often progress goes to the ledger, and the log to the object store.
PROGRESS_SECONDS, LOG_SECONDS = 2.0, 10.0
# How often, and how long apart, the outcome of work that is done is tried to be written.
WRITE_TRIES, WRITE_PAUSE_SECONDS = 10, 6.0

_ERROR = re.compile(r"error \[([a-z_]+)\]: (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One attempt, and where its task is recorded."""

    task_id: str
    number: int
    token: str
    poison: bool
    record: TaskFolder


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
        self._lease_ms = int(schedule.lease_seconds * 1000)

    def run(self, task_id: str) -> str:
        """Make one attempt at a task and return how it ended.

        Raises:
            JobUnknown: The ledger does not know it; the reconciler enters it again.
            BrokerUnavailable: The ledger does not answer; the lease will run out.
        """
        token = uuid.uuid4().hex
        begin = self._ledger.begin(
            task_id,
            ONLY,
            token=token,
            worker=self._worker,
            lease_ms=self._lease_ms,
            max_attempts=self._schedule.max_attempts,
        )
        if begin.outcome not in ("begun", "poison"):
            return begin.outcome
        attempt = _Attempt(
            task_id=task_id,
            number=begin.attempt,
            token=token,
            poison=begin.outcome == "poison",
            record=TaskFolder(self._storage, self._ledger.status(task_id).output),
        )
        with self._heartbeat(attempt) as heartbeat:
            try:
                return self._enter(attempt, self._ended(attempt, heartbeat))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                return self._failed(attempt, error)

    def _ended(self, attempt: _Attempt, heartbeat: Heartbeat) -> TaskOutcome:
        """Return how the task ended, after doing it if it has not."""
        outcome = attempt.record.outcome()
        if outcome is not None:
            return outcome
        task = attempt.record.task()
        if attempt.poison:
            raise Poison(
                f"{self._schedule.max_attempts} attempts at task {attempt.task_id} ended their "
                "process, or did not come to an end; see the logs of attempts and worker"
            )
        folder = self._folder / attempt.task_id
        with work_folder(folder) as lock:
            process = TaskProcess(f"worker.lifecycle.{task.kind}", task.arguments, folder, lock)
            try:
                code = self._follow(attempt, process, heartbeat)
            finally:
                process.end()
                self._keep_log(attempt, process)
            return self._judged(attempt, process, code)

    def _follow(self, attempt: _Attempt, process: TaskProcess, heartbeat: Heartbeat) -> int:
        """Return the exit code, once the process has ended by itself."""
        began = told = kept = time.monotonic()
        said = ""
        while True:
            code = process.wait(POLL_SECONDS)
            if code is not None:
                return code
            heartbeat.advance()
            now = time.monotonic()
            if now - began > self._limit:
                raise TaskTimedOut(
                    f"task {attempt.task_id} ran past {self._limit:.0f} s "
                    "(BULKSCORE_TASK_TIME_LIMIT_SECONDS)"
                )
            line = process.last_line()
            if line != said and now - told >= PROGRESS_SECONDS:
                told, said = now, line
                logger.info("task %s: %s", attempt.task_id, line, extra=_names(attempt))
                self._ledger.note(attempt.task_id, ONLY, token=attempt.token, trail=line)
            if now - kept >= LOG_SECONDS:
                kept = now
                self._keep_log(attempt, process)

    def _judged(self, attempt: _Attempt, process: TaskProcess, code: int) -> TaskOutcome:
        """Return the outcome of a process that ended with `code`.

        Raises:
            BulkError: What the process said went wrong, or that it was killed.
        """
        if code == ExitCode.OK:
            return self._outcome(attempt, "succeeded", code, printed=process.printed())
        line = process.last_line()
        error = told_error(line) if code > 0 else None
        if error is None and code < 0:
            error = ProcessKilled(f"ended by signal {-code}; the last it said: {line}")
        if error is None:
            error = UnexpectedError(f"ended with exit code {code}; the last it said: {line}")
        if code == ExitCode.GATE_FAILED:
            return self._outcome(attempt, "dead", code, error=error, printed=process.printed())
        raise error

    def _failed(self, attempt: _Attempt, error: BaseException) -> str:
        """Enter an attempt that did not bring the task to its end."""
        task_id, token = attempt.task_id, attempt.token
        if isinstance(error, HandBack):
            self._ledger.hand_back(task_id, ONLY, token=token)
            return "handed_back"
        if isinstance(error, LeaseLost):
            # Of no effect where another attempt has the lease; else what is in the way may go.
            self._ledger.hand_back(task_id, ONLY, token=token, delay_ms=self._lease_ms)
            return "lease_lost"
        if not isinstance(error, BulkError):
            error = UnexpectedError(describe(error))
        decision = decide(error, attempt.number, self._schedule)
        if not isinstance(decision, Retry):
            code = int(error.exit_code)
            return self._enter(attempt, self._outcome(attempt, "dead", code, error=error))
        logger.warning(
            "task %s failed at attempt %d [%s], next in %.1f s: %s",
            task_id,
            attempt.number,
            error.code,
            decision.delay_seconds,
            error,
            extra={**_names(attempt), "action": "retrying", "code": error.code},
        )
        record = record_of(error, attempt=attempt.number, worker=self._worker)
        delay_ms = int(decision.delay_seconds * 1000)
        self._ledger.retry(task_id, ONLY, token=token, delay_ms=delay_ms, record=record)
        return "retrying"

    def _enter(self, attempt: _Attempt, outcome: TaskOutcome) -> str:
        """Write the outcome, on the object store first and in the ledger then."""
        for tries in range(1, WRITE_TRIES + 1):
            try:
                outcome = attempt.record.end(outcome)
                break
            except StorageUnavailable as error:
                # What was done is not to be done again for want of a few lines.
                logger.warning("outcome not written: %s", error, extra=_names(attempt))
                if tries == WRITE_TRIES:
                    return self._failed_to_write(attempt, error)
                time.sleep(WRITE_PAUSE_SECONDS)
        enter_outcome(self._ledger, outcome, token=attempt.token)
        shutil.rmtree(self._folder / attempt.task_id, ignore_errors=True)
        return outcome.state

    def _failed_to_write(self, attempt: _Attempt, error: TransientError) -> str:
        delay_ms = int(self._schedule.retry_cap_seconds * 1000)
        record = record_of(error, attempt=attempt.number, worker=self._worker)
        self._ledger.retry(
            attempt.task_id, ONLY, token=attempt.token, delay_ms=delay_ms, record=record
        )
        return "retrying"

    def _outcome(
        self,
        attempt: _Attempt,
        state: Ending,
        exit_code: int,
        *,
        error: BulkError | None = None,
        printed: str = "",
    ) -> TaskOutcome:
        attempts = self._ledger.history(attempt.task_id, ONLY)
        if error is not None:
            record = record_of(error, attempt=attempt.number, worker=self._worker)
            attempts = (*attempts, record)
        return TaskOutcome(
            task_id=attempt.task_id,
            state=state,
            code=error.code if error else "",
            message=str(error) if error else "",
            exit_code=exit_code,
            printed=printed,
            worker=self._worker,
            ended_at=datetime.now(UTC),
            attempts=attempts,
        )

    def _keep_log(self, attempt: _Attempt, process: TaskProcess) -> None:
        """Put the log where it can be read; that it cannot be is no reason to end the work."""
        try:
            attempt.record.write_log(attempt.number, process.log())
        except BulkError as error:
            logger.warning("log not kept: %s", error, extra=_names(attempt))

    def _heartbeat(self, attempt: _Attempt) -> Heartbeat:
        return Heartbeat(
            lambda: self._ledger.heartbeat(
                attempt.task_id, ONLY, token=attempt.token, lease_ms=self._lease_ms
            ),
            every_seconds=min(HEARTBEAT_SECONDS, self._schedule.lease_seconds / 3),
            stall_seconds=float("inf"),
            time_limit_seconds=float("inf"),
            draining=self._draining,
        )


def told_error(line: str) -> BulkError | None:
    """Return the error of ours that the last line of a log tells of, None when it tells of none."""
    found = _ERROR.match(line)
    if found is None:
        return None
    kinds: list[type[BulkError]] = [BulkError]
    for kind in kinds:  # grows: the whole tree, from its root on
        if kind.code == found[1]:
            return kind(found[2])
        kinds.extend(kind.__subclasses__())
    return None


def _names(attempt: _Attempt) -> dict[str, object]:
    return {"job_id": attempt.task_id, "attempt": attempt.number}
