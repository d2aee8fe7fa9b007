"""Elects one process among many for a role, by a lease in Redis; it only saves work."""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import BulkError
from schemas.ledger import Ledger

logger = logging.getLogger(__name__)

# The lease lasts for so many of the intervals in which it is renewed.
INTERVALS_PER_LEASE = 5
# Work that takes longer, such as one that hangs in storage, loses the election.
LONGEST_WORK_SECONDS = 900.0


class Election:
    """One process' claim on a role.

    Args:
        ledger: Where the lease is.
        role: What one process at a time should do.
        every_seconds: How often the process asks.
    """

    def __init__(self, ledger: Ledger, role: str, *, every_seconds: float) -> None:
        self._ledger = ledger
        self._role = role
        self._every = every_seconds
        self._token = uuid.uuid4().hex

    def won(self) -> bool:
        """Take or renew the lease; False while another process has it.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        lease_ms = int(self._every * 1000 * INTERVALS_PER_LEASE)
        return self._ledger.elect(self._role, self._token, lease_ms=lease_ms)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease during the block, so that nobody else begins the same long work."""
        done = threading.Event()
        deadline = time.monotonic() + LONGEST_WORK_SECONDS

        def renew() -> None:
            while not done.wait(self._every) and time.monotonic() < deadline:
                try:
                    self.won()
                except BulkError as error:
                    logger.warning("%s: %s", self._role, error, extra={"action": "not_renewed"})

        thread = threading.Thread(target=renew, name="election", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
