"""Keeps a chunk's lease while its work advances, and tells the work when to stop.

One thread renews the lease; the work calls `advance` between batches, which raises when the
chunk must be given up. Work that does not advance for `stall_seconds` loses its lease: a hung
device must not hold a chunk.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from schemas.errors import BulkError, ChunkTimedOut, LeaseLost
from schemas.ledger import LeaseState

logger = logging.getLogger(__name__)


class HandBack(Exception):
    """The worker drains or the job was cancelled: give the chunk up between two batches."""


class Heartbeat:
    """Context manager around the work on one chunk.

    Args:
        renew: Renews the lease and says whether it is still held.
        every_seconds: Time between renewals, well below the lease.
        stall_seconds: Longest time without an advance for which the lease is renewed.
        time_limit_seconds: Wall time after which `advance` ends the chunk.
        draining: Says whether the worker is shutting down.
        beat: Called at each advance.
    """

    def __init__(
        self,
        renew: Callable[[], LeaseState],
        *,
        every_seconds: float,
        stall_seconds: float,
        time_limit_seconds: float,
        draining: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._renew = renew
        self._every = every_seconds
        self._stall = stall_seconds
        self._limit = time_limit_seconds
        self._draining = draining
        self._beat = beat
        self._started = self._advanced = time.monotonic()
        self._state: LeaseState = "held"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def advance(self, _tokens: int = 0) -> None:
        """Note that the work advanced, and stop it when it must not go on.

        Raises:
            LeaseLost: Another attempt owns the chunk.
            HandBack: The worker drains or the job was cancelled.
            ChunkTimedOut: The chunk is past its time limit.
        """
        self._advanced = time.monotonic()
        self._beat()
        if self._state == "lost":
            raise LeaseLost("another attempt owns the chunk now")
        if self._state == "cancelled" or self._draining():
            raise HandBack
        if self._advanced - self._started > self._limit:
            raise ChunkTimedOut(
                f"the chunk ran past {self._limit:.0f} s (BULKSCORE_CHUNK_TIME_LIMIT_SECONDS); "
                "use smaller chunks or a higher limit"
            )

    def _run(self) -> None:
        while self._state == "held" and not self._stop.wait(self._every):
            if time.monotonic() - self._advanced > self._stall:
                logger.warning(
                    "no advance for %.0f s, the lease is left to run out",
                    self._stall,
                    extra={"action": "stalled"},
                )
                return
            try:
                self._state = self._renew()
            except BulkError as error:
                # Efficiency only: the conditional create decides whose result counts.
                logger.warning("lease not renewed: %s", error, extra={"action": "heartbeat_failed"})
