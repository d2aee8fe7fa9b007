"""One attempt at one chunk: begin, hold the lease, score, and enter how it ended.

The order is what keeps the promise. The attempt is counted before the work; the result object is
created once; only then the ledger hears of it, and only then the message is acknowledged. Killed
at any point in between, the chunk is found again by the reconciler.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from schemas import layout
from schemas.chunks import Chunk
from schemas.errors import (
    BulkError,
    DeviceOutOfMemory,
    LeaseLost,
    Poison,
    UnexpectedError,
)
from schemas.job import Manifest
from schemas.ledger import BeginOutcome, Ledger
from schemas.message import ChunkMessage
from schemas.results import ResultAccount, read_account
from schemas.settings import ScheduleSettings, WorkerSettings
from schemas.storage import Storage
from worker.chunk import score_chunk
from worker.dead_letters import describe, record_of, write_dead_letter
from worker.heartbeat import HandBack, Heartbeat
from worker.jobs import JobCache, OpenJob
from worker.models import ModelCache
from worker.retry import Bury, decide

logger = logging.getLogger(__name__)

Outcome = BeginOutcome | Literal["handed_back", "lease_lost", "retrying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that has begun: it holds the lease under `token`."""

    job_id: str
    chunk: int
    number: int
    generation: int
    token: str
    output: str


class ChunkRunner:
    """Runs attempts, one after the other, with what a slot keeps between them."""

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
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._models = models
        self._jobs = JobCache(storage)
        self._schedule = schedule
        self._settings = settings
        self._worker = worker
        self._draining = draining

    def run(self, message: ChunkMessage) -> Outcome:
        """Make one attempt at the chunk of `message` and return how it ended.

        Raises:
            JobUnknown: The ledger has lost the job; `resume` enters it again.
            BrokerUnavailable: The ledger does not answer; the lease will run out.
        """
        token = uuid.uuid4().hex
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
        return self._run(attempt, poison=begin.outcome == "poison")

    def _run(self, attempt: Attempt, *, poison: bool) -> Outcome:
        try:
            job = self._jobs.get(attempt.job_id, attempt.output, attempt.generation)
            if poison:
                raise Poison(
                    f"chunk {attempt.chunk} was begun {attempt.number - 1} times and never came "
                    "to an end: its work kills the process"
                )
            account = self._score(attempt, job)
        except HandBack:
            self._ledger.hand_back(attempt.job_id, attempt.chunk, token=attempt.token)
            return "handed_back"
        except LeaseLost:
            return "lease_lost"
        except BulkError as error:
            return self._fail(attempt, error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except MemoryError as error:
            return self._fail(attempt, _caused(DeviceOutOfMemory("out of memory"), error))
        except BaseException as error:  # a native panic is no Exception
            return self._fail(attempt, _caused(UnexpectedError(describe(error)), error))
        self._ledger.finish(attempt.job_id, attempt.chunk, account)
        return "succeeded"

    def _score(self, attempt: Attempt, job: OpenJob) -> ResultAccount:
        uri = layout.result(attempt.output, attempt.chunk)
        if self._storage.exists(uri):
            return read_account(self._storage, uri)
        with self._heartbeat(attempt) as heartbeat:
            spec = job.manifest.spec
            model = self._models.get(
                job.manifest.model,
                max_length=spec.max_length,
                dtype=spec.dtype,
                token_budget=job.token_budget(attempt.chunk),
            )
            heartbeat.advance()
            created = score_chunk(
                storage=self._storage,
                manifest=job.manifest,
                chunk=job.chunks[attempt.chunk],
                model=model,
                attempt=attempt.number,
                generation=attempt.generation,
                worker=self._worker,
                progress=heartbeat.advance,
            )
        # Another attempt was faster: its object is the result, so its account is what counts.
        return created if created is not None else read_account(self._storage, uri)

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
        )

    def _fail(self, attempt: Attempt, error: BulkError) -> Outcome:
        names = {"job_id": attempt.job_id, "chunk": attempt.chunk, "attempt": attempt.number}
        if error.job_wide and not self._ledger.halt(
            attempt.job_id, attempt.chunk, token=attempt.token
        ):
            self._ledger.hand_back(attempt.job_id, attempt.chunk, token=attempt.token)
            return "halted"
        decision = decide(error, attempt.number, self._schedule)
        if isinstance(decision, Bury):
            try:
                self._bury(attempt, error, decision.code)
            except BulkError as problem:
                logger.warning("dead letter not written: %s", problem, extra=names)
                delay = self._schedule.retry_cap_seconds
            else:
                logger.error(
                    "chunk %d of job %s is dead after %d attempts [%s]: %s",
                    attempt.chunk,
                    attempt.job_id,
                    attempt.number,
                    decision.code,
                    describe(error),
                    extra={**names, "action": "buried", "code": decision.code},
                )
                return "dead"
        else:
            delay = decision.delay_seconds
        logger.warning(
            "chunk %d of job %s failed at attempt %d [%s], next in %.1f s: %s",
            attempt.chunk,
            attempt.job_id,
            attempt.number,
            error.code,
            delay,
            describe(error),
            extra={**names, "action": "retrying", "code": error.code},
        )
        self._ledger.retry(
            attempt.job_id,
            attempt.chunk,
            token=attempt.token,
            delay_ms=int(delay * 1000),
            record=record_of(error, attempt=attempt.number, worker=self._worker),
        )
        return "retrying"

    def _bury(self, attempt: Attempt, error: BulkError, code: str) -> None:
        manifest, chunk = self._place(attempt)
        history = self._ledger.history(attempt.job_id, attempt.chunk)
        record = record_of(error, attempt=attempt.number, worker=self._worker)
        write_dead_letter(
            self._storage,
            attempt.output,
            job_id=attempt.job_id,
            manifest=manifest,
            chunk=chunk,
            generation=attempt.generation,
            code=code,
            error=error,
            worker=self._worker,
            attempts=(*history, record),
        )
        self._ledger.bury(
            attempt.job_id, attempt.chunk, token=attempt.token, code=code, rows=chunk.rows
        )

    def _place(self, attempt: Attempt) -> tuple[Manifest | None, Chunk]:
        """Return the manifest and the chunk, as far as they can be read."""
        try:
            job = self._jobs.get(attempt.job_id, attempt.output, attempt.generation)
        except Exception:  # whatever it is, it is what the chunk is being buried for
            logger.info("the place of chunk %d is not known", attempt.chunk, exc_info=True)
            nowhere = Chunk(index=attempt.chunk, file=0, row_start=0, rows=0, text_bytes=0)
            return None, nowhere
        return job.manifest, job.chunks[attempt.chunk]


def _caused(error: BulkError, cause: BaseException) -> BulkError:
    error.__cause__ = cause
    return error
