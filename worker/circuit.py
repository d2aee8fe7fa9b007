"""An outage of storage is the worker's to wait for, and no chunk is charged for it.

When an attempt fails because storage as a whole does not serve (`worker.blame`), the circuit of
its job opens: before the worker begins another attempt at the job it waits and asks the store,
ever more rarely. A store that is down or overloaded gets one small request from a worker in half
a minute. Other jobs, whose storage may be another, go on.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import BulkError, StorageUnavailable
from worker.blame import Probe, ask

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
# How soon a worker that waits sees that it shall stop.
STEP_SECONDS = 0.2

Uniform = Callable[[float, float], float]


def pause_seconds(failures: int, uniform: Uniform = random.uniform) -> float:
    """Return how long to leave a store alone after so many failures in a row, from 1.

    It doubles up to a cap and half of it is random, so that a fleet that lost its store at one
    instant does not come back at one instant.
    """
    full = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return full / 2 + uniform(0, full / 2)


@dataclass(slots=True)
class _Outage:
    error: BulkError
    since: float
    failures: int = 0
    pause_ends: float = 0.0


class Circuit:
    """Says whether the storage of a job can be worked with; one for each slot.

    Args:
        probe: Asks the store behind a place once.
        draining: Says whether the worker is shutting down.
        clock: Seconds that only grow.
        sleep: Waits for so many seconds.
        uniform: A random number between two.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._probe = probe
        self._draining = draining
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._outages: dict[str, _Outage] = {}

    def open(self, job_id: str, error: BulkError) -> float:
        """Note that an attempt failed for want of storage; return how long to leave it alone."""
        outage = self._outages.setdefault(job_id, _Outage(error, since=self._clock()))
        return self._pause(job_id, outage, error)

    def admits(self, job_id: str) -> bool:
        """Wait for the storage of a job if it is away, for one pause at most.

        Returns:
            False when it is still away, or when the worker shall stop.
        """
        outage = self._outages.get(job_id)
        if outage is None:
            return True
        while (left := self.seconds_left(job_id)) > 0:
            if self._draining():
                return False
            self._sleep(min(left, STEP_SECONDS))
        answer = ask(outage.error, self._probe)
        if isinstance(answer, StorageUnavailable):
            self._pause(job_id, outage, answer)
            return False
        # Kept until an attempt succeeds: one that fails again goes on where this one stopped.
        return True

    def seconds_left(self, job_id: str) -> float:
        """Return for how long the storage of a job is better left alone."""
        outage = self._outages.get(job_id)
        return max(0.0, outage.pause_ends - self._clock()) if outage is not None else 0.0

    def close(self, job_id: str) -> None:
        """Note that an attempt at the job went well."""
        outage = self._outages.pop(job_id, None)
        if outage is not None:
            logger.info(
                "storage of job %s serves again, after %.0f s",
                job_id,
                self._clock() - outage.since,
                extra={"action": "storage_back", "job_id": job_id},
            )

    def _pause(self, job_id: str, outage: _Outage, error: BulkError) -> float:
        outage.failures += 1
        pause = pause_seconds(outage.failures, self._uniform)
        outage.pause_ends = self._clock() + pause
        logger.warning(
            "job %s waits for storage, since %.0f s, for another %.1f s [%s]: %s",
            job_id,
            self._clock() - outage.since,
            pause,
            error.code,
            error,
            extra={"action": "storage_away", "job_id": job_id, "code": error.code},
        )
        return pause
