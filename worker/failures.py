"""Enters an attempt that failed: another one later, the dead letter, or the end of the job."""

import logging

from schemas.budget import Halt
from schemas.chunks import Chunk
from schemas.complaints import Complaints
from schemas.dead_letter import AttemptRecord
from schemas.errors import BulkError, VersionUnknown
from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.logs import describe
from schemas.settings import ScheduleSettings
from schemas.storage import Storage
from worker.attempt import Attempt, Outcome
from worker.blame import blame
from worker.circuit import Circuit
from worker.dead_letters import record_of, write_dead_letter
from worker.jobs import JobCache
from worker.metrics import DEAD, RETRIES
from worker.retry import Bury, Retry, decide

logger = logging.getLogger(__name__)

# How soon somebody may look again at the chunk of a job that this worker is too old for.
OTHERS_SECONDS = 5.0


class Failures:
    """Acts on what `worker.retry.decide` says, on the object store first and in the ledger then."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        storage: Storage,
        jobs: JobCache,
        schedule: ScheduleSettings,
        worker: str,
        circuit: Circuit,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._jobs = jobs
        self._schedule = schedule
        self._worker = worker
        self._circuit = circuit
        self._complaints = Complaints(logger)

    def enter(self, attempt: Attempt, error: BulkError) -> Outcome:
        """Enter that `attempt` ended with `error`, and return what became of the chunk.

        Raises:
            BrokerUnavailable: The ledger does not answer; the lease will run out.
        """
        fault, error = blame(error, self._storage.probe, lambda uri: self._is_input(attempt, uri))
        attempt.journal.error = error
        if isinstance(error, VersionUnknown):
            self._complaints.warn(f"job {attempt.job_id} is left to others", error, **attempt.names)
            return self.put_off(attempt, OTHERS_SECONDS)
        if fault == "storage":
            return self.put_off(attempt, self._circuit.open(attempt.job_id, error))
        if fault == "job" and not self._halt(attempt, error):
            self._ledger.hand_back(attempt.job_id, attempt.chunk, token=attempt.token)
            return "halted"
        decision = decide(error, attempt.tries, self._schedule)
        if isinstance(decision, Retry):
            return self._retry(attempt, error, decision.delay_seconds)
        try:
            return self._bury(attempt, error, decision)
        except BulkError as problem:
            logger.warning(
                "dead letter of chunk %d not written: %s",
                attempt.chunk,
                problem,
                extra=attempt.names,
            )
            # A job that was halted waits for `resume`, and nothing else.
            delay = 0.0 if fault == "job" else self._schedule.retry_cap_seconds
            return self._retry(attempt, error, delay)

    def put_off(self, attempt: Attempt, seconds: float) -> Outcome:
        """Hand a chunk back uncharged, to be begun after so many seconds."""
        self._ledger.hand_back(
            attempt.job_id, attempt.chunk, token=attempt.token, delay_ms=int(seconds * 1000)
        )
        return "handed_back"

    def _is_input(self, attempt: Attempt, uri: str) -> bool:
        manifest, chunk = self._place(attempt)
        return manifest is not None and uri == manifest.files[chunk.file].uri

    def _halt(self, attempt: Attempt, error: BulkError) -> bool:
        """Stop the job, unless another attempt has: its dead letter is the only one then."""
        halted = self._ledger.halt(
            attempt.job_id, attempt.chunk, token=attempt.token, why=Halt.of(error)
        )
        if halted:
            logger.error(
                "job %s is halted, every chunk would meet this [%s]: %s; mend it, then "
                "`bulkscore resume %s`",
                attempt.job_id,
                error.code,
                describe(error),
                attempt.output,
                extra={
                    **attempt.names,
                    "action": "halted",
                    "code": error.code,
                    "worker": self._worker,
                },
            )
        return halted

    def _retry(self, attempt: Attempt, error: BulkError, delay_seconds: float) -> Outcome:
        logger.warning(
            "chunk %d of job %s failed at attempt %d [%s], next in %.1f s: %s",
            attempt.chunk,
            attempt.job_id,
            attempt.number,
            error.code,
            delay_seconds,
            describe(error),
            extra={**attempt.names, "action": "retrying", "code": error.code},
        )
        self._ledger.retry(
            attempt.job_id,
            attempt.chunk,
            token=attempt.token,
            delay_ms=int(delay_seconds * 1000),
            record=self._record(attempt, error),
        )
        RETRIES.labels(error.code).inc()
        return "retrying"

    def _bury(self, attempt: Attempt, error: BulkError, decision: Bury) -> Outcome:
        manifest, chunk = self._place(attempt)
        history = self._ledger.history(attempt.job_id, attempt.chunk)
        record = self._record(attempt, error)
        write_dead_letter(
            self._storage,
            attempt.output,
            job_id=attempt.job_id,
            manifest=manifest,
            chunk=chunk,
            generation=attempt.generation,
            code=decision.code,
            error=error,
            worker=self._worker,
            attempts=(*history, record),
        )
        self._ledger.bury(
            attempt.job_id,
            attempt.chunk,
            token=attempt.token,
            code=decision.code,
            rows=chunk.rows,
        )
        logger.error(
            "chunk %d of job %s is dead after %d attempts [%s]: %s",
            attempt.chunk,
            attempt.job_id,
            attempt.number,
            decision.code,
            describe(error),
            extra={**attempt.names, "action": "buried", "code": decision.code},
        )
        DEAD.labels(decision.code).inc()
        return "dead"

    def _record(self, attempt: Attempt, error: BulkError) -> AttemptRecord:
        journal = attempt.journal
        return record_of(error, attempt=attempt.number, worker=self._worker, journal=journal)

    def _place(self, attempt: Attempt) -> tuple[Manifest | None, Chunk]:
        """Return the manifest and the chunk, as far as they can be read."""
        try:
            job = self._jobs.get(attempt.job_id, attempt.output, attempt.generation)
        except Exception as error:  # whatever it is, it is what the chunk is being buried for
            logger.info("the place of chunk %d is not known: %s", attempt.chunk, describe(error))
            nowhere = Chunk(index=attempt.chunk, file=0, row_start=0, rows=0, text_bytes=0)
            return None, nowhere
        return job.manifest, job.chunks[attempt.chunk]
