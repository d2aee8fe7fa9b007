"""Following a job until it has ended, through restarts and losses of Redis."""

import time
from collections.abc import Callable, Iterator

from producer.deployment import Deployment
from producer.job_report import status_from_storage
from producer.progress import Idleness, Meter, Progress
from schemas.errors import BrokerUnavailable, ExitCode, JobUnknown, TransientError
from schemas.job import Manifest
from schemas.job_status import JobStatus
from schemas.resume import bring_back, resume
from schemas.states import JobState
from schemas.summary import Summary

POLL_SECONDS = 0.5
# Redis may be away for so long (a restart, a failover) before a wait gives up.
OUTAGE_SECONDS = 300.0
# So long without a worker taking a queued chunk, and the user is told.
IDLE_SECONDS = 30.0
# A job that was stopped is waited for so long after its last chunk: its summary may never come.
SUMMARY_SECONDS = 60.0


class Follower:
    """Follows one job.

    Args:
        deployment: Where Redis and the object store are.
        manifest: The job.
        keep_queued: Also reconcile while nobody else does. Otherwise only look, and enter the job
            again when Redis has lost it.
        tell: Takes a line about what is out of the ordinary.
    """

    def __init__(
        self,
        deployment: Deployment,
        manifest: Manifest,
        *,
        keep_queued: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._deployment = deployment
        self._manifest = manifest
        self._keep_queued = keep_queued
        self._tell = tell
        self._meter = Meter()
        self._idleness = Idleness(IDLE_SECONDS)
        self._out_since: float | None = None
        self._next_pass = 0.0
        self._at_rest_since: float | None = None

    def follow(self, timeout_seconds: float | None = None) -> Iterator[Progress]:
        """Yield the progress again and again, until the job has ended or the time is over.

        A job that was stopped may not come to its end, for want of a process that can write its
        summary: it is left when nothing of it has run for a while.

        Raises:
            BrokerUnavailable: Redis stayed away for too long.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            progress = self._look()
            if progress is not None:
                yield progress
                if progress.ended or self._given_up(progress):
                    return
            if deadline is not None and time.monotonic() >= deadline:
                return
            time.sleep(POLL_SECONDS)

    def _look(self) -> Progress | None:
        """Return the progress, or None while Redis or storage is out of reach for a while."""
        try:
            status = self._status()
            if self._keep_queued:
                self._reconcile()
            if self._idleness.begins(status):
                self._tell(self._idle_notice())
                resume(self._deployment.storage, self._deployment.ledger, self._manifest)
        except TransientError as error:
            self._bear(error)
            return None
        self._out_since = None
        return self._meter.read(status)

    def _status(self) -> JobStatus:
        ledger, job_id = self._deployment.ledger, self._manifest.job_id
        try:
            return ledger.status(job_id)
        except JobUnknown:
            storage = self._deployment.storage
            if bring_back(storage, ledger, self._manifest) is None and not ledger.knows(job_id):
                return status_from_storage(storage, self._manifest)
            self._tell("Redis did not know the job: entered it again from its output")
            return ledger.status(job_id)

    def _given_up(self, progress: Progress) -> bool:
        if not progress.at_rest:
            self._at_rest_since = None
            return False
        if self._at_rest_since is None:
            self._at_rest_since = time.monotonic()
        return time.monotonic() - self._at_rest_since > SUMMARY_SECONDS

    def _reconcile(self) -> None:
        if time.monotonic() < self._next_pass:
            return
        self._deployment.reconciler.look_after()
        self._next_pass = time.monotonic() + self._deployment.schedule.reconcile_seconds

    def _bear(self, error: TransientError) -> None:
        """Tell of an outage when it begins, and give up when it lasts."""
        if self._out_since is None:
            self._out_since = time.monotonic()
            self._tell(f"{error}; trying again")
        if time.monotonic() - self._out_since > OUTAGE_SECONDS:
            raise error

    def _idle_notice(self) -> str:
        notice = f"no worker has taken a chunk for {IDLE_SECONDS:.0f} s"
        try:
            workers = sorted(self._deployment.broker.workers())
        except BrokerUnavailable:
            workers = []
        if workers:
            return f"{notice}, though these answer: {', '.join(workers)}"
        return f"{notice} and none answers; start one with `bulkscore worker`"


def exit_code_of(job: Summary | Progress) -> ExitCode:
    """Return what a command that waited for the job returns to the shell.

    A cancelled or halted job left chunks without a result, as dead ones do.
    """
    if job.state is JobState.SUCCEEDED:
        return ExitCode.OK
    return ExitCode.ROW_ERRORS if job.stopped_by == "rows_error" else ExitCode.DEAD_CHUNKS
