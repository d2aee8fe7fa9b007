"""The servers of a chaos run, with what the faults do to them."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from support.chaos import front
from support.daemon import Daemon, free_port, wait_for_port
from support.servers import ValkeyServer

START_SECONDS = 20.0


class Redis(ValkeyServer):
    """Valkey with its append-only file."""

    def __init__(self, directory: Path) -> None:
        """Prepare a server; `start` or the `with` statement runs it."""
        super().__init__(directory, append_only=True)
        self._data = directory / "appendonlydir"

    def url_through(self, port: int) -> str:
        """Return the URL that leads through a link."""
        return self.url.replace(f":{self.port}/", f":{port}/")

    def forget_all(self) -> None:
        """Remove the data of a server that is not running."""
        shutil.rmtree(self._data)

    def forget_latest(self, share: float) -> None:
        """Remove the latest writes of a server that is not running: this share of all bytes."""
        (log,) = self._data.glob("*.incr.aof")
        with log.open("r+b") as file:
            file.truncate(int(log.stat().st_size * (1 - share)))


class S3Front(Daemon):
    """The gateway before the S3 server, as a process that may be killed and given orders."""

    def __init__(self, directory: Path, upstream_port: int) -> None:
        """Prepare a gateway before the S3 server on 127.0.0.1:`upstream_port`."""
        self.port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self._orders = directory / "front.json"
        arguments = [str(self.port), str(upstream_port), str(self._orders)]
        super().__init__("front", directory, [sys.executable, front.__file__, *arguments])

    def spoil(self, how: str, rate: float) -> None:
        """Spoil so many of all answers in this way, until `heal`."""
        assert how in front.SPOILERS, how
        write_orders(self._orders, {"spoil": how, "rate": rate})

    def heal(self) -> None:
        """Pass everything on as it is."""
        write_orders(self._orders, {})

    def _wait_until_ready(self) -> None:
        wait_for_port(self, self.port, START_SECONDS)


def write_orders(path: Path, orders: dict[str, Any]) -> None:
    """Replace a file of orders in one step."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(orders), encoding="utf-8")
    fresh.replace(path)
