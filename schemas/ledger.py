"""The live record of every chunk in Redis: a thin face over `ledger.lua`.

Redis may be lost at any time; what is said here can be rebuilt from the object store
(`schemas.resume`). Every call bears repetition, because a client repeats a command whose reply
it did not get.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

import redis

from schemas.attempt_log import AttemptEvent, in_order, parse_event
from schemas.budget import NO_LIMITS, Halt, Limits
from schemas.dead_letter import AttemptRecord, Buried
from schemas.errors import JobUnknown
from schemas.job import Priority
from schemas.job_status import JobStatus, parse_status
from schemas.message import queue_name
from schemas.redis_connection import broker_errors, connect
from schemas.results import ResultAccount
from schemas.settings import BrokerSettings
from schemas.states import ChunkState, JobState

PREFIX = "bulkscore:"
# A script keeps everybody else waiting: this many chunks take some 0.1 s.
REOPENED_AT_ONCE = 10_000

BeginOutcome = Literal["begun", "busy", "poison", "succeeded", "dead", "cancelled", "halted"]
LeaseState = Literal["held", "lost", "cancelled"]

_LETTERS = {state.letter: state for state in ChunkState}
_JOB_KINDS = (
    "job",
    "states",
    "enqueued",
    "due",
    "leases",
    "owners",
    "attempts",
    "history",
    "trails",
    "codes",
    "buried",
    "log",
)
# Take or renew the lease on a role, in one step, so that nobody renews another's.
_ELECT = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The ledger's answer to an attempt that wants to begin.

    `trail` is what earlier attempts at the chunk had noted, empty when they noted nothing.
    """

    outcome: BeginOutcome
    attempt: int
    generation: int
    trail: str = ""


class Ledger:
    """Moves chunks and jobs through their states, and says where they are."""

    def __init__(self, settings: BrokerSettings, *, prefix: str = PREFIX) -> None:
        self._url = settings.redis_url
        self._prefix = prefix
        self._redis = connect(settings)
        source = files("schemas").joinpath("ledger.lua").read_text(encoding="utf-8")
        self._script = self._redis.register_script(source)
        self._elect = self._redis.register_script(_ELECT)

    def ping(self) -> None:
        """Raise BrokerUnavailable when Redis cannot be used."""
        with broker_errors(self._url):
            self._redis.ping()

    def open(
        self,
        job_id: str,
        *,
        output: str,
        priority: Priority,
        chunks: int,
        rows: int,
        generation: int = 0,
        states: Sequence[ChunkState] | None = None,
        counters: Mapping[str, float] | None = None,
        buried: Mapping[int, Buried] | None = None,
        limits: Limits = NO_LIMITS,
    ) -> bool:
        """Enter a job; `states`, `counters` and `buried` restore one that storage knows more about.

        Returns:
            True when this call entered it, False when it was there.
        """
        if states is not None and len(states) != chunks:
            raise AssertionError(f"bug: {len(states)} states for the {chunks} chunks of {job_id}")
        letters = "".join(state.letter for state in states or ())
        numbers = json.dumps(dict(counters or {}))
        dead = json.dumps({c: [b.rows, b.code] for c, b in (buried or {}).items()})
        job = (output, priority, chunks, rows, generation)
        opened = self._move("open", job_id, *job, letters, numbers, dead, limits.as_json())
        return bool(opened)

    def claim(self, job_id: str, *, window: int, grace_ms: int, missing: int) -> list[int]:
        """Return the chunks to put on the queue now, marked as enqueued.

        Args:
            job_id: The job.
            window: Most chunks that may be on the queue at once.
            grace_ms: Age from which an enqueued chunk counts as lost while messages are missing.
            missing: Messages that should be on the queue and are not.
        """
        return [int(c) for c in self._move("claim", job_id, window, grace_ms, missing)]

    def begin(
        self, job_id: str, chunk: int, *, token: str, worker: str, lease_ms: int, max_attempts: int
    ) -> Begin:
        """Count an attempt and take the lease, before any work is done."""
        outcome, attempt, generation, trail = self._move(
            "begin", job_id, chunk, token, worker, lease_ms, max_attempts
        )
        return Begin(outcome=outcome, attempt=int(attempt), generation=int(generation), trail=trail)

    def note(self, job_id: str, chunk: int, *, token: str, trail: str) -> bool:
        """Write down where the attempt is, for the case that it kills its process.

        Returns:
            False when the lease is lost.
        """
        return bool(self._move("note", job_id, chunk, token, trail))

    def heartbeat(self, job_id: str, chunk: int, *, token: str, lease_ms: int) -> LeaseState:
        """Renew the lease, or learn that it is lost or the job cancelled."""
        return cast("LeaseState", self._move("heartbeat", job_id, chunk, token, lease_ms))

    def finish(self, job_id: str, chunk: int, account: ResultAccount) -> bool:
        """Count the chunk whose result object exists; False when it was counted before."""
        numbers = {
            "rows_scored": account.rows_scored,
            "rows_error": account.rows - account.rows_scored,
            "tokens": account.tokens,
            "truncated_rows": account.truncated_rows,
        }
        body = {"numbers": numbers, "seconds": account.seconds, "errors": account.errors}
        return bool(self._move("finish", job_id, chunk, json.dumps(body)))

    def complete(self, job_id: str, chunk: int) -> bool:
        """Count a chunk as `finish` does, one that has no rows to account for."""
        body = {"numbers": {}, "seconds": 0, "errors": {}}
        return bool(self._move("finish", job_id, chunk, json.dumps(body)))

    def retry(
        self, job_id: str, chunk: int, *, token: str, delay_ms: int, record: AttemptRecord
    ) -> bool:
        """Set the chunk aside until `delay_ms` have passed; False when the lease is lost."""
        return bool(self._move("retry", job_id, chunk, token, delay_ms, record.model_dump_json()))

    def bury(self, job_id: str, chunk: int, *, token: str, code: str, rows: int) -> bool:
        """Count the chunk as dead; its dead letter is on the object store already.

        An empty `token` stands for a dead letter that was found there.
        """
        return bool(self._move("bury", job_id, chunk, token, code, rows))

    def halt(self, job_id: str, chunk: int, *, token: str, why: Halt) -> bool:
        """Stop a job because of an error every chunk would meet; True for the first to say so."""
        return bool(self._move("halt", job_id, chunk, token, why.code, why.message))

    def hand_back(self, job_id: str, chunk: int, *, token: str, delay_ms: int = 0) -> bool:
        """Give the chunk up unfinished, without charging the attempt; to be begun after a delay."""
        return bool(self._move("hand_back", job_id, chunk, token, delay_ms))

    def disown(self, job_id: str, *, worker: str) -> list[int]:
        """Free the chunks that a worker holds, and return them; for when its process has died."""
        return [int(c) for c in self._move("disown", job_id, worker)]

    def sweep(self, job_id: str) -> list[int]:
        """Free the chunks whose lease has run out, and return them."""
        return [int(c) for c in self._move("sweep", job_id)]

    def reopen(
        self, job_id: str, chunks: Sequence[int], *, generation: int, limits: Limits = NO_LIMITS
    ) -> int:
        """Queue dead or cancelled chunks again; return how many there were.

        A job that was halted or stopped goes on, unless it is still above its limits; they replace
        the job's own where there are any.

        `generation` is the job's from now on, unless it is higher already. Cut off in between, it
        is to be repeated as a whole.
        """
        slices = [
            chunks[start : start + REOPENED_AT_ONCE]
            for start in range(0, len(chunks), REOPENED_AT_ONCE)
        ]
        return sum(
            int(self._move("reopen", job_id, generation, json.dumps(list(part)), limits.as_json()))
            for part in slices or [()]
        )

    def cancel(self, job_id: str) -> int:
        """Stop a job that has not ended; return how many chunks will not be scored."""
        return int(self._move("cancel", job_id))

    def close(
        self, job_id: str, state: JobState, *, succeeded: int, unwritten: Halt | None = None
    ) -> bool:
        """Enter that the job has ended.

        Args:
            job_id: The job.
            state: How it ended.
            succeeded: Chunks with a result that the summary knows of.
            unwritten: What keeps the summary from being written, None when it is written. A job
                that fails and was not stopped before is said to be halted by it.

        Returns:
            False if the job runs again, or if a result came in after the summary's survey.
        """
        cause = (unwritten.code, unwritten.message) if unwritten else ("", "")
        return bool(self._move("close", job_id, state.value, succeeded, *cause))

    def history(self, job_id: str, chunk: int) -> tuple[AttemptRecord, ...]:
        """Return the failed attempts of a chunk, oldest first."""
        with broker_errors(self._url):
            body = self._redis.hget(f"{self._prefix}history:{job_id}", str(chunk))
        return tuple(AttemptRecord.model_validate(r) for r in json.loads(body or "[]"))

    def log(self, job_id: str, event: AttemptEvent) -> None:
        """Keep how an attempt ended; entered twice, it counts once."""
        body = event.model_dump_json(exclude={"at"}, exclude_defaults=True)
        self._move("log", job_id, body)

    def events(self, job_id: str, *, since_ms: int = 0) -> list[AttemptEvent]:
        """Return what is kept of the job's attempts, oldest first, from a time on."""
        with broker_errors(self._url):
            kept = self._redis.zrangebyscore(
                f"{self._prefix}log:{job_id}", since_ms, "+inf", withscores=True
            )
        return in_order(parse_event(body, at_ms) for body, at_ms in kept)

    def under_way(self, job_id: str, chunk: int) -> tuple[int, str]:
        """Return how many attempts at a chunk were begun, and what the last one noted."""
        with broker_errors(self._url), self._redis.pipeline(transaction=True) as pipe:
            pipe.hget(f"{self._prefix}attempts:{job_id}", str(chunk))
            pipe.hget(f"{self._prefix}trails:{job_id}", str(chunk))
            attempts, noted = pipe.execute()
        return int(attempts or 0), noted or ""

    def workers(self, job_id: str) -> list[str]:
        """Return the names of the workers that hold a lease on a chunk of the job."""
        with broker_errors(self._url):
            owners = self._redis.hvals(f"{self._prefix}owners:{job_id}")
        return sorted({owner.partition(" ")[2] for owner in owners})

    def state_of(self, job_id: str, chunk: int) -> ChunkState:
        """Return the state of one chunk."""
        with broker_errors(self._url):
            letter = self._redis.getrange(f"{self._prefix}states:{job_id}", chunk, chunk)
        if not letter:
            raise JobUnknown(f"job {job_id} has no chunk {chunk} in the ledger")
        return _LETTERS[letter]

    def states(self, job_id: str) -> list[ChunkState]:
        """Return the state of every chunk in order."""
        with broker_errors(self._url):
            letters = self._redis.get(f"{self._prefix}states:{job_id}")
        if letters is None:
            raise _unknown(job_id)
        return [_LETTERS[letter] for letter in letters]

    def jobs(self) -> list[str]:
        """Return the ids of all jobs the ledger knows, oldest first."""
        with broker_errors(self._url), self._redis.pipeline(transaction=False) as pipe:
            ids = list(self._redis.zrange(f"{self._prefix}jobs", 0, -1))
            for job_id in ids:
                pipe.exists(f"{self._prefix}job:{job_id}")
            return [job_id for job_id, there in zip(ids, pipe.execute(), strict=True) if there]

    def knows(self, job_id: str) -> bool:
        """Say whether the job is in the ledger."""
        with broker_errors(self._url):
            return bool(self._redis.exists(f"{self._prefix}job:{job_id}"))

    def active(self) -> list[str]:
        """Return the ids of the jobs that a reconciler has to look after."""
        with broker_errors(self._url):
            return sorted(self._redis.smembers(f"{self._prefix}active"))

    def await_drift(self, job_id: str) -> None:
        """Note that the drift of a job is to be told when it has ended."""
        with broker_errors(self._url):
            self._redis.sadd(f"{self._prefix}drift", job_id)

    def awaiting_drift(self) -> list[str]:
        """Return the ids of the jobs whose drift is to be told."""
        with broker_errors(self._url):
            return sorted(self._redis.smembers(f"{self._prefix}drift"))

    def drift_told(self, job_id: str) -> None:
        """Note that there is no drift to be told any more."""
        with broker_errors(self._url):
            self._redis.srem(f"{self._prefix}drift", job_id)

    def status(self, job_id: str) -> JobStatus:
        """Return where a job is.

        Raises:
            JobUnknown: The ledger does not know the job.
        """
        with broker_errors(self._url), self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"{self._prefix}job:{job_id}")
            pipe.hgetall(f"{self._prefix}codes:{job_id}")
            pipe.time()
            job, codes, (seconds, micros) = pipe.execute()
        if not job:
            raise _unknown(job_id)
        return parse_status(job_id, job, codes, now=int(seconds) + int(micros) / 1e6)

    def enqueued(self, *job_ids: str) -> int:
        """Return how many chunks of these jobs should have a message on the queue."""
        with broker_errors(self._url), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.zcard(f"{self._prefix}enqueued:{job_id}")
            return sum(pipe.execute())

    def waiting_since(self, job_id: str) -> float:
        """Return when the job's longest waiting message was sent (ms), infinity without one."""
        with broker_errors(self._url):
            first = self._redis.zrange(f"{self._prefix}enqueued:{job_id}", 0, 0, withscores=True)
        return float(first[0][1]) if first else math.inf

    def queue_length(self, priority: Priority) -> int:
        """Return the number of messages on the queue of this priority."""
        return self.messages_on(queue_name(priority))

    def messages_on(self, queue: str) -> int:
        """Return the number of messages on a queue."""
        with broker_errors(self._url):
            return int(self._redis.llen(queue))

    def census(self) -> list[tuple[JobState, dict[ChunkState, int]]]:
        """Return the state of each job the ledger knows, and how many of its chunks are where."""
        known = self.jobs()
        names = ("state", *(state.value for state in ChunkState))
        with broker_errors(self._url), self._redis.pipeline(transaction=False) as pipe:
            for job_id in known:
                pipe.hmget(f"{self._prefix}job:{job_id}", names)
            found = [(state, counts) for state, *counts in pipe.execute() if state is not None]
        return [
            (JobState(state), {s: int(n or 0) for s, n in zip(ChunkState, counts, strict=True)})
            for state, counts in found
        ]

    def memory(self) -> tuple[int, int]:
        """Return the bytes that Redis uses and those that it may use, 0 for no limit."""
        with broker_errors(self._url):
            told = self._redis.info("memory")
        return int(told["used_memory"]), int(told.get("maxmemory", 0))

    def elect(self, name: str, token: str, *, lease_ms: int) -> bool:
        """Take or renew the lease on a role that one process at a time should play."""
        with broker_errors(self._url):
            return bool(self._elect(keys=[f"{self._prefix}elected:{name}"], args=[token, lease_ms]))

    def forget(self, job_id: str) -> None:
        """Remove a job from the ledger; its objects stay."""
        with broker_errors(self._url), self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(*(f"{self._prefix}{kind}:{job_id}" for kind in _JOB_KINDS))
            pipe.zrem(f"{self._prefix}jobs", job_id)
            pipe.srem(f"{self._prefix}active", job_id)
            pipe.execute()

    def _move(self, move: str, job_id: str, *arguments: Any) -> Any:
        with broker_errors(self._url):
            try:
                return self._script(keys=[self._prefix], args=[move, job_id, *arguments])
            except redis.exceptions.ResponseError as error:
                if str(error).startswith("NOJOB"):
                    raise _unknown(job_id) from None
                if str(error).startswith(("ILLEGAL", "NOCHUNK", "NOMOVE", "SHORT")):
                    raise AssertionError(f"bug: {move} of job {job_id}: {error}") from error
                raise


def _unknown(job_id: str) -> JobUnknown:
    return JobUnknown(
        f"the ledger knows no job {job_id}; `bulkscore jobs` lists those it knows, "
        "`bulkscore resume OUTPUT` enters one again from its output"
    )
