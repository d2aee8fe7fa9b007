"""What Redis says of queues, chunks and jobs, as metrics of `bulkscore reconcile --forever`."""

import time
from collections import Counter as Count

from schemas.errors import BulkError, JobUnknown
from schemas.exposition import Gauge
from schemas.job import PRIORITIES, Priority
from schemas.ledger import Ledger
from schemas.message import queue_name
from schemas.states import ChunkState, JobState
from schemas.task_queue import QUEUE as LIFECYCLE_QUEUE

UP = Gauge("bulkscore_redis_up", "1 while Redis answers, else 0.")
DEPTH = Gauge("bulkscore_queue_depth", "Messages that wait on a queue.", ["queue"])
OLDEST = Gauge(
    "bulkscore_queue_oldest_seconds",
    "Age of the message that waits for longest on a queue, 0 without one.",
    ["queue"],
)
IN_FLIGHT = Gauge("bulkscore_chunks_in_flight", "Chunks that an attempt holds the lease on.")
CHUNKS = Gauge("bulkscore_chunks", "Chunks of the jobs the ledger knows, by state.", ["state"])
PENDING = Gauge("bulkscore_chunks_pending", "Chunks to be scored or retried, of running jobs.")
JOBS = Gauge("bulkscore_jobs", "Jobs the ledger knows, by state.", ["state"])
TASKS = Gauge("bulkscore_lifecycle_tasks", "Lifecycle tasks the ledger knows, by state.", ["state"])
MEMORY = Gauge("bulkscore_redis_memory_bytes", "Memory that Redis uses.")
MEMORY_LIMIT = Gauge("bulkscore_redis_memory_limit_bytes", "What it may use, 0 for no limit.")

_LABELLED = (DEPTH, OLDEST, CHUNKS, JOBS, TASKS)
_PLAIN = (IN_FLIGHT, PENDING, MEMORY, MEMORY_LIMIT)
_NOT_KNOWN = float("nan")
_WAITING = (ChunkState.QUEUED, ChunkState.RETRYING)


class QueueMetrics:
    """Looks at Redis and sets the metrics.

    Args:
        ledger: Of the jobs.
        tasks: Of the lifecycle tasks.
    """

    def __init__(self, ledger: Ledger, tasks: Ledger) -> None:
        self._ledger, self._tasks = ledger, tasks

    def look(self) -> None:
        """Look once; where Redis does not answer no number is shown but `bulkscore_redis_up`."""
        try:
            self._look()
        except BulkError:
            UP.set(0)
            for labelled in _LABELLED:
                labelled.clear()
            for plain in _PLAIN:
                plain.set(_NOT_KNOWN)
        else:
            UP.set(1)

    def _look(self) -> None:
        waiting = self._waiting_since()
        for priority in PRIORITIES:
            queue = queue_name(priority)
            depth = self._ledger.queue_length(priority)
            DEPTH.labels(queue).set(depth)
            age = time.time() - waiting[priority] / 1000 if depth and priority in waiting else 0
            OLDEST.labels(queue).set(max(0.0, age))
        DEPTH.labels(LIFECYCLE_QUEUE).set(self._ledger.messages_on(LIFECYCLE_QUEUE))
        jobs, chunks = Count[JobState](), Count[ChunkState]()
        pending = 0
        for state, counts in self._ledger.census():
            jobs[state] += 1
            chunks.update(counts)
            if state is JobState.RUNNING:
                pending += sum(counts[waits] for waits in _WAITING)
        for chunk_state in ChunkState:
            CHUNKS.labels(chunk_state.value).set(chunks[chunk_state])
        tasks = Count(state for state, _ in self._tasks.census())
        for job_state in JobState:
            JOBS.labels(job_state.value).set(jobs[job_state])
            TASKS.labels(job_state.value).set(tasks[job_state])
        IN_FLIGHT.set(chunks[ChunkState.RUNNING])
        PENDING.set(pending)
        used, limit = self._ledger.memory()
        MEMORY.set(used)
        MEMORY_LIMIT.set(limit)

    def _waiting_since(self) -> dict[Priority, float]:
        """Return when the longest waiting message of each priority was sent, in ms."""
        found: dict[Priority, float] = {}
        for job_id in self._ledger.active():
            try:
                priority = self._ledger.status(job_id).priority
            except JobUnknown:  # it has just ended
                continue
            since = self._ledger.waiting_since(job_id)
            found[priority] = min(since, found.get(priority, since))
        return found
