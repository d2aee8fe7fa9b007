"""What the servers that speak Redis' protocol have in common: when one is ready."""

from abc import ABC, abstractmethod
from typing import Any

import redis

from support.daemon import Daemon
from support.waiting import wait_until

START_SECONDS = 30.0


class RedisDaemon(Daemon, ABC):
    """A server that answers PING once it has loaded all its data."""

    @abstractmethod
    def client(self, **options: Any) -> redis.Redis:
        """Return a new client; the caller closes it, best with a `with` statement."""

    def _wait_until_ready(self) -> None:
        with self.client(socket_timeout=1.0, socket_connect_timeout=1.0) as client:

            def answers() -> bool:
                self.check_running()
                return bool(client.ping())

            wait_until(
                answers,
                START_SECONDS,
                interval=0.01,
                message=lambda: f"PONG\n{self.log_tail()}",
                ignore=(redis.ConnectionError, redis.TimeoutError),
            )
