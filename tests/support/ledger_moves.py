"""Short names for the ledger's moves on one job, for tests that make many of them."""

from collections.abc import Callable
from typing import Any

import redis

from schemas.budget import Halt
from schemas.ledger import Begin, Ledger
from schemas.states import ChunkState, JobState
from support.stored_jobs import CHUNK_ROWS, JOB, failed_attempt

LONG_MS = 3_600_000
QUEUED, RUNNING, RETRYING = ChunkState.QUEUED, ChunkState.RUNNING, ChunkState.RETRYING
DENIED = Halt(code="access_denied", message="s3://lake/scored: access denied (AccessDenied)")
SUCCEEDED, DEAD, CANCELLED = ChunkState.SUCCEEDED, ChunkState.DEAD, ChunkState.CANCELLED


def enter(ledger: Ledger, chunks: int = 4, **options: Any) -> bool:
    """Enter the job; False when it was there."""
    return ledger.open(
        JOB,
        output="s3://lake/scored",
        priority="normal",
        chunks=chunks,
        rows=chunks * CHUNK_ROWS,
        **options,
    )


def begin(
    ledger: Ledger,
    chunk: int = 0,
    token: str = "t1",
    *,
    worker: str = "w1",
    lease_ms: int = LONG_MS,
    max_attempts: int = 3,
) -> Begin:
    """Begin an attempt at a chunk."""
    return ledger.begin(
        JOB, chunk, token=token, worker=worker, lease_ms=lease_ms, max_attempts=max_attempts
    )


def claim(ledger: Ledger, window: int = 10, *, grace_ms: int = LONG_MS, missing: int = 0) -> Any:
    """Claim what is to be queued."""
    return ledger.claim(JOB, window=window, grace_ms=grace_ms, missing=missing)


def retry(ledger: Ledger, chunk: int = 0, token: str = "t1", *, delay_ms: int = LONG_MS) -> bool:
    """Set a chunk aside until the delay is over."""
    return ledger.retry(JOB, chunk, token=token, delay_ms=delay_ms, record=failed_attempt())


def bury(ledger: Ledger, chunk: int = 0, token: str = "", *, rows: int = CHUNK_ROWS) -> bool:
    """Bury a chunk as corrupt."""
    return ledger.bury(JOB, chunk, token=token, code="input_corrupt", rows=rows)


def halt(ledger: Ledger, chunk: int = 0, token: str = "t1", *, why: Halt = DENIED) -> bool:
    """Halt the job because its output is denied."""
    return ledger.halt(JOB, chunk, token=token, why=why)


def end(ledger: Ledger, state: JobState = JobState.SUCCEEDED) -> bool:
    """Close the job on a summary that knows all results."""
    succeeded = ledger.status(JOB).chunks[SUCCEEDED]
    return ledger.close(JOB, state, succeeded=succeeded)


def contents(server: redis.Redis) -> dict[str, Any]:
    """Return everything in the server but the times in its sorted sets."""
    readers: dict[str, Callable[[str], Any]] = {
        "string": server.get,
        "hash": server.hgetall,
        "set": server.smembers,
        "zset": lambda key: set(server.zrange(key, 0, -1)),
    }
    return {key: readers[str(server.type(key))](key) for key in server.scan_iter()}
