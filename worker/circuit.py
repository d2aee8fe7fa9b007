"""Outages of storage are the worker's to wait for, and no fault of a chunk.

When an attempt fails because storage does not serve, the store is asked once. If it does not
answer either, the circuit of the job opens: the attempt is not charged, and before the worker
begins another one of the job it waits and asks again, ever more rarely. So a store that is down
or overloaded gets one small request from a worker in half a minute, and no chunk is buried.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import BulkError, StorageUnavailable

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
    full = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (failures - 1))
    return full / 2 + uniform(0, full / 2)


@dataclass(slots=True, kw_only=True)
class _Outage:
    place: str
    since: float
    failures: int = 0
    ends: float = 0.0  # of the pause


class Circuit:
    """Says whether the storage of a job can be worked with; one for each slot.

    Args:
        probe: Asks the store behind a place once, and raises when it does not serve.
        draining: Says whether the worker is shutting down.
        clock: Seconds that only grow.
        sleep: Waits for so many seconds.
        uniform: A random number between two.
    """

    def __init__(
        self,
        probe: Callable[[str], None],
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

    def trip(self, job_id: str, error: BulkError) -> float | None:
        """Open the circuit of a job if `error` is an outage of its storage.

        Returns:
            Seconds for which the chunk is better left alone, or None: the store serves, so the
            error is about the chunk.
        """
        if not isinstance(error, StorageUnavailable) or error.place is None:
            return None
        if self._serves(error.place):
            return None
        outage = self._outages.get(job_id)
        if outage is None:
            logger.warning(
                "job %s waits for storage: %s",
                job_id,
                error,
                extra={"action": "storage_away", "job_id": job_id},
            )
            outage = _Outage(place=error.place, since=self._clock())
            self._outages[job_id] = outage
        return self._pause(outage)

    def admits(self, job_id: str) -> bool:
        """Wait for the storage of a job that is away, for one pause at most.

        Returns:
            False when it is still away, or when the worker shall stop.
        """
        outage = self._outages.get(job_id)
        if outage is None:
            return True
        while (left := outage.ends - self._clock()) > 0:
            if self._draining():
                return False
            self._sleep(min(left, STEP_SECONDS))
        if not self._serves(outage.place):
            self._pause(outage)
            return False
        return True

    def seconds_left(self, job_id: str) -> float:
        """Return for how long a job is better left alone."""
        outage = self._outages.get(job_id)
        return max(0.0, outage.ends - self._clock()) if outage is not None else 0.0

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

    def _serves(self, place: str) -> bool:
        """Ask the store once; a refusal is an answer."""
        try:
            self._probe(place)
        except StorageUnavailable:
            return False
        except BulkError as error:
            logger.info("%s answers: %s", place, error)
        return True

    def _pause(self, outage: _Outage) -> float:
        outage.failures += 1
        pause = pause_seconds(outage.failures, self._uniform)
        outage.ends = self._clock() + pause
        return pause
