"""What goes on being wrong is said once, and again after a while; not at every look."""

import logging
import time
from collections.abc import Callable
from typing import Any

from schemas.errors import BulkError

SAID_AGAIN_SECONDS = 600.0


class Complaints:
    """Warns of errors that are met again and again.

    Args:
        logger: Takes the warnings.
        clock: Seconds that only grow.
    """

    def __init__(
        self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._clock = clock
        # What each thing was said to suffer from last, and until when that is enough.
        self._said: dict[str, tuple[str, float]] = {}

    def warn(self, about: str, error: BulkError, **names: Any) -> None:
        """Say what is wrong with `about`, unless it is what was said of it a while ago."""
        code, enough_until = self._said.get(about, ("", 0.0))
        if code == error.code and self._clock() < enough_until:
            return
        self._said[about] = (error.code, self._clock() + SAID_AGAIN_SECONDS)
        self._logger.warning("%s: %s", about, error, extra=names)

    def forget(self, about: str) -> None:
        """Note that all is well with `about`: whatever comes next is news."""
        self._said.pop(about, None)
