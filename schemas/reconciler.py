"""Keeps what is pending on the queue, a window at a time, and ends jobs that have nothing left.

It is also the janitor that enters jobs again which Redis has lost: every process that may be
elected remembers the active jobs and where their output lies.

Level-triggered: a pass looks at what is so and mends it. Running it twice, late, or in several
processes at once does no harm; the election only saves work.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.budget import Halt
from schemas.complaints import Complaints
from schemas.election import Election
from schemas.errors import (
    BrokerUnavailable,
    BulkError,
    JobUnknown,
    ManifestMissing,
    OutputTaken,
    PermanentError,
)
from schemas.finalize import finalize
from schemas.job import Priority
from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.manifest import read_manifest
from schemas.message import ChunkMessage
from schemas.resume import bring_back, count_results, resume
from schemas.settings import ScheduleSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.survey import survey

logger = logging.getLogger(__name__)

Publish = Callable[[Sequence[ChunkMessage], Priority], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did to one job."""

    job_id: str
    enqueued: int
    expired: int
    ended: JobState | None = None


# Told of each pass over all jobs, and of the seconds it took.
Watch = Callable[[Sequence[Pass], float], None]


class Reconciler:
    """Looks after the jobs in the ledger; `publish` puts messages on the queue."""

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        publish: Publish,
        settings: ScheduleSettings,
        watch: Watch = lambda _passes, _seconds: None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._publish = publish
        self._settings = settings
        self._watch = watch
        self._election = Election(ledger, "reconciler", every_seconds=settings.reconcile_seconds)
        # The active jobs seen so far, each with its output.
        self._remembered: dict[str, str] = {}
        self._complaints = Complaints(logger)

    def run_forever(self, stop: threading.Event) -> None:
        """Look after the jobs every few seconds, until `stop` is set."""
        while not stop.wait(self._settings.reconcile_seconds):
            try:
                self.look_after()
                self._complaints.forget("reconcile")
            except BulkError as error:
                self._complaints.warn("reconcile", error, action="reconcile_failed")
            except Exception:  # the thread's top frame: without it no job would go on
                logger.exception("reconcile", extra={"action": "reconcile_failed"})

    def look_after(self) -> None:
        """Remember the active jobs; if elected, bring back those that were lost and make a pass."""
        lost = self._remember()
        if self.elected():
            with self._election.kept():
                for job_id in lost:
                    self._bring_back(job_id)
                began = time.monotonic()
                self._watch(self.run_once(), time.monotonic() - began)

    def elected(self) -> bool:
        """Take or renew the lease that says which process reconciles."""
        return self._election.won()

    def run_once(self, only: str | None = None) -> list[Pass]:
        """Make one pass over all active jobs, or over one; one job's trouble stops no other.

        Raises:
            BrokerUnavailable: Redis takes nothing for the one job that was asked for.
        """
        statuses = self._active()
        passes = []
        for status in statuses:
            if only is not None and status.job_id != only:
                continue
            names = {"action": "reconcile_failed", "job_id": status.job_id}
            try:
                passes.append(self._reconcile(status, among=statuses))
                self._complaints.forget(f"job {status.job_id}")
            except BulkError as error:
                if only is not None and isinstance(error, BrokerUnavailable):
                    raise
                self._complaints.warn(f"job {status.job_id}", error, **names)
            except Exception:
                logger.exception("job %s", status.job_id, extra=names)
        return passes

    def _remember(self) -> list[str]:
        """Take note of the active jobs, and return those that the ledger has lost."""
        active = self._ledger.active()
        for job_id in set(active) - set(self._remembered):
            with contextlib.suppress(JobUnknown):
                self._remembered[job_id] = self._ledger.status(job_id).output
        gone = set(self._remembered) - set(active)
        ended = {job_id for job_id in gone if self._ledger.knows(job_id)}
        for job_id in ended:
            del self._remembered[job_id]
        return sorted(gone - ended)

    def _bring_back(self, job_id: str) -> None:
        """Enter a lost job again; what goes wrong for now is tried again at the next time."""
        names = {"action": "job_lost", "job_id": job_id}
        try:
            manifest = read_manifest(self._storage, self._remembered[job_id])
            if bring_back(self._storage, self._ledger, manifest) is not None:
                logger.warning("Redis had lost job %s: entered again", job_id, extra=names)
        except (ManifestMissing, OutputTaken) as error:
            logger.warning("job %s cannot be entered again: %s", job_id, error, extra=names)
        except BulkError as error:
            self._complaints.warn(f"job {job_id} not entered again yet", error, **names)
            return
        del self._remembered[job_id]

    def _active(self) -> list[JobStatus]:
        """Return the active jobs, first the one with the longest waiting message.

        Messages are taken in order, so a lost one belongs to that job sooner or later.
        """
        found = []
        for job_id in self._ledger.active():
            try:
                found.append((self._ledger.waiting_since(job_id), self._ledger.status(job_id)))
            except JobUnknown:
                logger.info("job %s is gone from the ledger", job_id)
        return [status for _, status in sorted(found, key=lambda pair: pair[0])]

    def _reconcile(self, status: JobStatus, *, among: Sequence[JobStatus]) -> Pass:
        expired = self._ledger.sweep(status.job_id)
        rivals = [other.job_id for other in among if other.priority == status.priority]
        claimed = self._ledger.claim(
            status.job_id,
            window=self._settings.window_chunks,
            grace_ms=int(self._settings.enqueue_grace_seconds * 1000),
            missing=self._missing(status.priority, rivals),
        )
        if claimed:
            messages = [
                ChunkMessage(job_id=status.job_id, chunk=c, generation=status.generation)
                for c in claimed
            ]
            self._publish(messages, status.priority)
        ended = self._end(status.job_id)
        return Pass(job_id=status.job_id, enqueued=len(claimed), expired=len(expired), ended=ended)

    def _missing(self, priority: Priority, job_ids: Sequence[str]) -> int:
        """Return how many messages should be on the queue of this priority and are not."""
        return max(0, self._ledger.enqueued(*job_ids) - self._ledger.queue_length(priority))

    def _end(self, job_id: str) -> JobState | None:
        status = self._ledger.status(job_id)
        stopped = status.state is not JobState.RUNNING
        if status.chunks[ChunkState.RUNNING] or (status.pending and not stopped):
            return None
        try:
            return self._summarize(status)
        except PermanentError as error:
            return self._end_unsaid(status, error)

    def _summarize(self, status: JobStatus) -> JobState | None:
        """End the job with its summary; None if it turns out to go on."""
        job_id = status.job_id
        manifest = read_manifest(self._storage, status.output)
        found = survey(self._storage, manifest)
        if found.missing and status.state is JobState.RUNNING:
            # The object is what counts: whatever has none is queued again.
            logger.warning(
                "%d chunks of job %s are done in the ledger and have no result under %s",
                len(found.missing),
                job_id,
                status.output,
                extra={"action": "resumed", "job_id": job_id},
            )
            resume(self._storage, self._ledger, manifest)
            return None
        succeeded = status.chunks[ChunkState.SUCCEEDED]
        if len(found.results) > succeeded:
            known = self._ledger.states(job_id)
            succeeded += count_results(self._storage, self._ledger, manifest, found, known)
        summary = finalize(self._storage, manifest, found, halt=status.halt)
        if not self._ledger.close(job_id, summary.state, succeeded=succeeded):
            return None
        logger.info(
            "job %s %s: %d rows scored, %d with an error, %d in dead chunks",
            job_id,
            summary.state,
            summary.rows_scored,
            summary.rows_error,
            summary.rows_dead,
            extra={"action": "job_ended", "job_id": job_id},
        )
        return summary.state

    def _end_unsaid(self, status: JobStatus, error: PermanentError) -> JobState | None:
        """End a job whose output cannot be read or written, for `resume` to end it properly."""
        job_id, succeeded = status.job_id, status.chunks[ChunkState.SUCCEEDED]
        state = JobState.FAILED if status.state is JobState.RUNNING else status.state
        unwritten = Halt.of(error)
        if not self._ledger.close(job_id, state, succeeded=succeeded, unwritten=unwritten):
            return None
        logger.error(
            "job %s %s without a summary [%s]: %s; mend it, then `bulkscore resume %s`",
            job_id,
            state,
            error.code,
            error,
            status.output,
            extra={"action": "job_ended", "job_id": job_id, "code": error.code},
        )
        return state
