"""Lifecycle tasks in Redis: a ledger of their own, in which a task is a job of one chunk.

So a task has what a chunk has: attempts that are counted before the work, a lease, back-off,
a dead letter, and a reconciler that finds it again when its worker or its message is gone.
"""

import logging
import threading
import time
from collections.abc import Callable

from schemas.complaints import Complaints
from schemas.election import Election
from schemas.errors import BulkError, JobUnknown
from schemas.ledger import PREFIX, Ledger
from schemas.message import LIFECYCLE, QUEUE_PREFIX
from schemas.settings import BrokerSettings, ScheduleSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.task_record import TaskOutcome, open_tasks

logger = logging.getLogger(__name__)

QUEUE = f"{QUEUE_PREFIX}{LIFECYCLE}"
TASK_NAME = "bulkscore.run_lifecycle_task"
# The one chunk of a task.
ONLY = 0
# How often the object store is asked for tasks that Redis has lost.
LOOK_FOR_LOST_SECONDS = 60.0

_ENDINGS = {
    ChunkState.SUCCEEDED: JobState.SUCCEEDED,
    ChunkState.DEAD: JobState.FAILED,
    ChunkState.CANCELLED: JobState.CANCELLED,
}


def task_ledger(settings: BrokerSettings) -> Ledger:
    """Return the ledger of the tasks."""
    return Ledger(settings, prefix=f"{PREFIX}{LIFECYCLE}:")


def enter(ledger: Ledger, task_id: str, uri: str) -> bool:
    """Enter a task into the ledger; False when it was there."""
    return ledger.open(task_id, output=uri, priority="normal", chunks=1, rows=0)


def enter_outcome(ledger: Ledger, outcome: TaskOutcome, *, token: str = "") -> None:
    """Enter that a task has ended, as its record says already.

    Args:
        ledger: Of the tasks.
        outcome: How it ended.
        token: Of the lease, where an attempt was under way.
    """
    task_id = outcome.task_id
    if outcome.state == "succeeded":
        ledger.complete(task_id, ONLY)
    elif outcome.state == "dead":
        ledger.bury(task_id, ONLY, token=token, code=outcome.code, rows=0)
    else:
        ledger.cancel(task_id)
        if token:
            ledger.hand_back(task_id, ONLY, token=token)


class TaskReconciler:
    """Keeps tasks that have not ended on the queue; `publish` sends their messages.

    Level-triggered, as `schemas.reconciler`: to run it twice or late does no harm.

    Args:
        ledger: Of the tasks.
        storage: Where the records are.
        root: Folder of the records, None where no registry is set: then lost tasks stay lost.
        publish: Puts messages on the queue.
        settings: Times.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        root: str | None,
        publish: Callable[[str], None],
        settings: ScheduleSettings,
    ) -> None:
        self._ledger, self._storage, self._root = ledger, storage, root
        self._publish, self._settings = publish, settings
        self._election = Election(ledger, "reconciler", every_seconds=settings.reconcile_seconds)
        self._complaints = Complaints(logger)
        self._looked = -LOOK_FOR_LOST_SECONDS

    def run_forever(self, stop: threading.Event) -> None:
        """Look after the tasks every few seconds, until `stop` is set."""
        while not stop.wait(self._settings.reconcile_seconds):
            try:
                if self._election.won():
                    with self._election.kept():
                        self.run_once()
                self._complaints.forget("tasks")
            except BulkError as error:
                self._complaints.warn("tasks", error, action="reconcile_failed")
            except Exception:  # the thread's top frame: without it no task would go on
                logger.exception("tasks", extra={"action": "reconcile_failed"})

    def run_once(self) -> None:
        """Make one pass over all tasks that have not ended."""
        self._find_lost()
        active = self._ledger.active()
        for task_id in active:
            try:
                self._look_after(task_id, active)
            except JobUnknown:  # lost a moment ago
                continue

    def _find_lost(self) -> None:
        if self._root is None or time.monotonic() - self._looked < LOOK_FOR_LOST_SECONDS:
            return
        for task_id in open_tasks(self._storage, self._root):
            if not self._ledger.knows(task_id) and enter(
                self._ledger, task_id, f"{self._root}/{task_id}"
            ):
                logger.warning("task %s is entered again", task_id, extra={"action": "job_lost"})
        self._looked = time.monotonic()

    def _look_after(self, task_id: str, active: list[str]) -> None:
        self._ledger.sweep(task_id)
        missing = self._ledger.enqueued(*active) - self._ledger.messages_on(QUEUE)
        grace_ms = int(self._settings.enqueue_grace_seconds * 1000)
        if self._ledger.claim(task_id, window=1, grace_ms=grace_ms, missing=max(0, missing)):
            self._publish(task_id)
        self._end(task_id)

    def _end(self, task_id: str) -> None:
        """Take a task that has ended off the list of those to look after."""
        status = self._ledger.status(task_id)
        if status.pending:
            return
        ending = next(_ENDINGS[state] for state in _ENDINGS if status.chunks[state])
        self._ledger.close(task_id, ending, succeeded=status.chunks[ChunkState.SUCCEEDED])
