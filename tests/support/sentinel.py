"""Redis as a primary and a replica, and sentinels that move to the replica when it is lost."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis

from support.daemon import find_program, free_port
from support.redis_daemon import RedisDaemon
from support.requirements import missing
from support.waiting import wait_until

PRIMARY = "bulkscore"
USER, PASSWORD = "worker", "of-the-data"
SENTINEL_PASSWORD = "of-the-sentinels"
DOWN_AFTER_MS = 1_000
READY_SECONDS = 30.0


class _Node(RedisDaemon):
    """A Redis server or a sentinel, with a configuration that it writes to itself."""

    def __init__(self, name: str, folder: Path, password: str, *lines: str) -> None:
        program = find_program("redis-server")
        if program is None:
            missing("no sentinel: redis-server not found (install redis-server)")
        self.port = free_port()
        self._password = password
        folder = folder / name
        folder.mkdir()
        settings = (f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", *lines)
        (folder / "redis.conf").write_text("\n".join(settings) + "\n")
        kind = ["--sentinel"] if name.startswith("sentinel") else []
        super().__init__(name, folder, [str(program), str(folder / "redis.conf"), *kind])

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client that may do all; the caller closes it."""
        return redis.Redis(
            port=self.port, password=self._password, decode_responses=True, **options
        )


class WatchedRedis:
    """A primary, its replica, and two sentinels; a context manager."""

    def __init__(self, folder: Path) -> None:
        data = (
            *('save ""', "appendonly no", f"requirepass {PASSWORD}", f"masterauth {PASSWORD}"),
            f"user {USER} on >{PASSWORD} ~* &* +@all",
            "repl-diskless-sync-delay 0",
        )
        self.primary = _Node("primary", folder, PASSWORD, *data)
        self.replica = _Node(
            "replica", folder, PASSWORD, *data, f"replicaof 127.0.0.1 {self.primary.port}"
        )
        watch = (
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel monitor {PRIMARY} 127.0.0.1 {self.primary.port} 2",
            f"sentinel auth-pass {PRIMARY} {PASSWORD}",
            f"sentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {PRIMARY} 5000",
        )
        self.sentinels = [
            _Node(f"sentinel-{n}", folder, SENTINEL_PASSWORD, *watch) for n in range(2)
        ]
        self._running = ExitStack()

    def url(self, *, master_name: str = PRIMARY) -> str:
        """Return the URL by which our commands find the primary."""
        nodes = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return (
            f"sentinel://{USER}:{PASSWORD}@{nodes}/0?master_name={master_name}"
            f"&sentinel_password={SENTINEL_PASSWORD}"
        )

    def primary_port(self) -> int:
        """Return where the sentinels say that the primary is."""
        with self.sentinels[0].client() as client:
            found: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
        return int(found[1])

    def __enter__(self) -> Self:
        """Start all, and wait until each knows of the others."""
        with ExitStack() as stack:
            for node in (self.primary, self.replica, *self.sentinels):
                stack.enter_context(node)
            wait_until(self._knows_all, READY_SECONDS)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all."""
        self._running.close()

    def _knows_all(self) -> bool:
        for node in self.sentinels:
            with node.client() as client:
                found: Any = client.execute_command("SENTINEL", "MASTER", PRIMARY)
                state = (
                    found
                    if isinstance(found, dict)
                    else dict(zip(found[::2], found[1::2], strict=True))
                )
            if int(state["num-slaves"]) < 1 or int(state["num-other-sentinels"]) < 1:
                return False
        return True
