"""What a worker does with messages of a later release: it leaves them to workers that know them.

While a fleet is upgraded old and new workers share the queues. No attempt is begun, so none is
counted. A message that nobody takes for long is dropped: after a roll-back there is nobody left
who could, and the reconciler sends what is pending anew, in a version of today.
"""

import logging
import time
from collections.abc import Callable

from schemas.complaints import Complaints
from schemas.errors import VersionUnknown

logger = logging.getLogger(__name__)

# Else one message would go round as fast as Redis allows.
PAUSE_SECONDS = 1.0
# How long a message may go round; then the reconciler sees within its grace that it is missing.
DROP_SECONDS = 300.0


class LeftToOthers:
    """Says whether a message goes back to the end of its queue, which it does for a limited time.

    Args:
        clock: Seconds that only grow.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._complaints = Complaints(logger, clock=clock)
        # When this worker met each message first.
        self._met: dict[str, float] = {}

    def __call__(self, message_id: str, error: VersionUnknown) -> bool:
        """Return whether to put it back, after a pause; else it is to be dropped."""
        now = self._clock()
        self._met = {known: met for known, met in self._met.items() if now - met < 2 * DROP_SECONDS}
        if now - self._met.setdefault(message_id, now) >= DROP_SECONDS:
            del self._met[message_id]
            return False
        self._complaints.warn("left to others", error, action="left_to_others")
        self._sleep(PAUSE_SECONDS)
        return True
