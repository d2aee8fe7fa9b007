"""Runs attempts at chunks: begin, hold the lease, score, and enter how it ended.

The order is what keeps the promise. The attempt is counted before the work; the result object is
created once; only then the ledger hears of it, and only then the message is acknowledged. Killed
at any point in between, the chunk is found again by the reconciler. One that was begun too often is
scored carefully, see `schemas.trail`.
"""

import logging
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import replace

from schemas import layout
from schemas.errors import (
    BulkError,
    DeviceFailed,
    DeviceOutOfMemory,
    LeaseLost,
    Poison,
    UnexpectedError,
)
from schemas.ledger import Ledger
from schemas.logs import bind, bound, describe
from schemas.message import ChunkMessage
from schemas.results import ResultAccount, read_account
from schemas.settings import ScheduleSettings, WorkerSettings
from schemas.storage import Storage
from schemas.trail import OPENING, Trail, after_death
from worker.attempt import Attempt, Outcome
from worker.careful import Notes
from worker.chunk import score_chunk
from worker.circuit import Circuit
from worker.failures import Failures
from worker.heartbeat import HandBack, Heartbeat
from worker.jobs import JobCache, OpenJob
from worker.models import LoadedModel, ModelCache
from worker.tracing import trace

logger = logging.getLogger(__name__)


def end_process() -> None:
    """End this process at once; the main process of the worker starts another one."""
    os.kill(os.getpid(), signal.SIGKILL)


class ChunkRunner:
    """Runs attempts, one after the other, with what a slot keeps between them.

    When the device has failed, and the ledger knows, `end_process` is called.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        storage: Storage,
        models: ModelCache,
        schedule: ScheduleSettings,
        settings: WorkerSettings,
        worker: str,
        draining: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
        end_process: Callable[[], None] = end_process,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._models = models
        self._jobs = JobCache(storage)
        self._schedule = schedule
        self._settings = settings
        self._worker = worker
        self._draining = draining
        self._beat = beat
        self._end_process = end_process
        self._circuit = Circuit(storage.probe, draining=draining)
        self._failures = Failures(
            ledger=ledger,
            storage=storage,
            jobs=self._jobs,
            schedule=schedule,
            worker=worker,
            circuit=self._circuit,
        )

    def run(self, message: ChunkMessage) -> Outcome:
        """Make one attempt at the chunk of `message` and return how it ended.

        Raises:
            JobUnknown: The ledger has lost the job; `resume` enters it again.
            BrokerUnavailable: The ledger does not answer; the lease will run out.
        """
        token = uuid.uuid4().hex
        admitted = self._circuit.admits(message.job_id)
        begin = self._ledger.begin(
            message.job_id,
            message.chunk,
            token=token,
            worker=self._worker,
            lease_ms=int(self._schedule.lease_seconds * 1000),
            max_attempts=self._schedule.max_attempts,
        )
        if begin.outcome not in ("begun", "poison"):
            return begin.outcome
        attempt = Attempt(
            job_id=message.job_id,
            chunk=message.chunk,
            number=begin.attempt,
            generation=begin.generation,
            token=token,
            output=self._ledger.status(message.job_id).output,
        )
        if not admitted:
            return self._failures.put_off(attempt, self._circuit.seconds_left(attempt.job_id))
        notes = None
        if begin.outcome == "poison":
            notes = self._notes(attempt, begin.trail)
            # Deaths are counted by the trail: what is left are attempts that ended in an error.
            forgiven = self._schedule.max_attempts + notes.trail.deaths
            attempt = replace(attempt, forgiven=forgiven)
        # Around all of it: a store that does not answer is waited for longer than a lease lasts.
        names = {**attempt.names, "generation": attempt.generation, "worker": self._worker}
        with bound(**names), attempt.journal.listening(), self._heartbeat(attempt) as heartbeat:
            return self._told(attempt, self._run(attempt, heartbeat, notes))

    def _told(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Leave behind how an attempt ended; what counts is entered already."""
        try:
            self._ledger.log(attempt.job_id, attempt.ended(outcome, self._worker))
        except BulkError as error:
            logger.info("the end of the attempt is not kept in the ledger: %s", error)
        trace(attempt, outcome, self._worker)
        return outcome

    def _run(self, attempt: Attempt, heartbeat: Heartbeat, notes: Notes | None) -> Outcome:
        try:
            if notes is not None:
                notes.note(OPENING)
            job = self._jobs.get(attempt.job_id, attempt.output, attempt.generation)
            attempt.journal.model = job.manifest.model_refs
            bind(model=job.manifest.model_refs)
            account = self._score(attempt, job, heartbeat, notes)
        except LeaseLost as error:
            attempt.journal.error = error
            return "lease_lost"
        except (KeyboardInterrupt, SystemExit):
            raise
        except DeviceFailed as error:
            # What is noted stays: to the rows that were being scored it is a death.
            try:
                return self._told(attempt, self._failures.enter(attempt, error))
            finally:
                self._end_process()
        except BaseException as error:  # a native panic is no Exception
            if notes is not None:
                notes.note(None)
            return self._enter(attempt, error)
        self._ledger.finish(attempt.job_id, attempt.chunk, account)
        self._circuit.close(attempt.job_id)
        return "succeeded"

    def _enter(self, attempt: Attempt, error: BaseException) -> Outcome:
        """Enter an attempt that ended in an orderly way, but without a result."""
        if isinstance(error, HandBack):
            self._ledger.hand_back(attempt.job_id, attempt.chunk, token=attempt.token)
            return "handed_back"
        if isinstance(error, MemoryError):
            return self._failures.enter(attempt, _caused(DeviceOutOfMemory("out of memory"), error))
        if isinstance(error, BulkError):
            return self._failures.enter(attempt, error)
        return self._failures.enter(attempt, _caused(UnexpectedError(describe(error)), error))

    def _score(
        self, attempt: Attempt, job: OpenJob, heartbeat: Heartbeat, notes: Notes | None
    ) -> ResultAccount:
        uri = layout.result(attempt.output, attempt.chunk)
        if self._storage.exists(uri):
            return read_account(self._storage, uri)
        if notes is not None and notes.trail.hopeless:
            raise _poison(attempt, notes.trail)
        with attempt.journal.clock("load"):
            models = self._load(job, attempt, heartbeat)
        created = score_chunk(
            storage=self._storage,
            manifest=job.manifest,
            chunk=job.chunks[attempt.chunk],
            models=models,
            attempt=attempt.number,
            generation=attempt.generation,
            worker=self._worker,
            progress=heartbeat.advance,
            notes=notes,
            clock=attempt.journal.clock,
        )
        # Another attempt was faster: its object is the result, so its account is what counts.
        return created if created is not None else read_account(self._storage, uri)

    def _load(self, job: OpenJob, attempt: Attempt, heartbeat: Heartbeat) -> list[LoadedModel]:
        """Return the models of a job; each that is there is an advance."""
        spec, pins = job.manifest.spec, job.manifest.models
        models = []
        for pin in pins:
            model = self._models.get(
                pin,
                max_length=spec.max_length,
                dtype=spec.dtype,
                token_budget=job.token_budget(attempt.chunk),
                together=len(pins),
            )
            models.append(model)
            heartbeat.advance()
        return models

    def _notes(self, attempt: Attempt, noted: str) -> Notes:
        """Return the notes of a careful attempt: they begin with what the last one taught."""

        def write(trail: Trail) -> None:
            body = trail.model_dump_json()
            if not self._ledger.note(
                attempt.job_id, attempt.chunk, token=attempt.token, trail=body
            ):
                raise LeaseLost("another attempt owns the chunk now")

        trail = after_death(Trail.model_validate_json(noted or "{}"))
        logger.warning(
            "chunk %d of job %s was begun %d times without an end, it is scored carefully now%s",
            attempt.chunk,
            attempt.job_id,
            attempt.number - 1,
            f": {trail}" if trail.deaths else "",
            extra={**attempt.names, "action": "careful"},
        )
        return Notes(trail, write)

    def _heartbeat(self, attempt: Attempt) -> Heartbeat:
        lease_ms = int(self._schedule.lease_seconds * 1000)
        return Heartbeat(
            lambda: self._ledger.heartbeat(
                attempt.job_id, attempt.chunk, token=attempt.token, lease_ms=lease_ms
            ),
            every_seconds=self._schedule.lease_seconds / 3,
            stall_seconds=self._settings.stall_seconds,
            time_limit_seconds=self._settings.chunk_time_limit_seconds,
            draining=self._draining,
            beat=self._beat,
        )


def _poison(attempt: Attempt, trail: Trail) -> Poison:
    error = Poison(f"chunk {attempt.chunk} kills the process that works on it: {trail}")
    error.row_group = trail.died_at.row_group if trail.died_at is not None else None
    error.first_bad_row = min(trail.bad, default=None)
    return error


def _caused(error: BulkError, cause: BaseException) -> BulkError:
    error.__cause__ = cause
    return error
