"""Workers under a supervisor that starts them again when they end, as Kubernetes would."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from support.chaos.servers import write_orders
from support.processes import RunningCli, start_cli
from support.tcp_proxy import Link

RESTART_SECONDS = 1.0
# A child whose main process was killed notices that and ends; later it counts as left over.
ORPHAN_SECONDS = 15.0
# Kubernetes' grace period: from SIGTERM to SIGKILL.
DRAIN_SECONDS = 30.0

Note = Callable[[str], None]


class Worker:
    """One `bulkscore worker` with links, a temporary folder and orders of its own.

    Args:
        name: Of the worker.
        folder: Where its files lie.
        env: Its settings.
        redis: Its way to Redis.
        s3: Its way to the S3 server.
        note: Takes what should not have happened.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        env: Mapping[str, str],
        *,
        redis: Link,
        s3: Link,
        note: Note,
    ) -> None:
        self.name = name
        self.redis = redis
        self.s3 = s3
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.starts = 0
        self._orders = folder / "orders.json"
        self._log = folder / "log"
        self._env = {**env, "TMPDIR": str(self.temporary), "CHAOS_ORDERS": str(self._orders)}
        self._changes: dict[str, str] = {}
        self._note = note
        self._running: RunningCli | None = None
        self._block = ExitStack()
        self._ended: float | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes chunks."""
        return self._running is not None and "ready" in self._running.stderr

    def order(self, **orders: Any) -> None:
        """Give the plug of this worker its orders, which replace those before."""
        write_orders(self._orders, orders)

    def start(self, **changes: str) -> None:
        """Run the worker; `changes` of its settings hold for this start only."""
        self.starts += 1
        self._ended = None
        env = {**self._env, **changes}
        command = start_cli("worker", "--device", "cpu", "--name", self.name, env=env)
        self._running = self._block.enter_context(command)

    def start_differently(self, **changes: str) -> None:
        """Let the next start be with these settings."""
        self._changes = changes

    def main(self) -> psutil.Process | None:
        """Return the main process."""
        running = self._running
        if running is None or running.poll() is not None:
            return None
        return psutil.Process(running.pid)

    def child(self) -> psutil.Process | None:
        """Return the process that computes, None while there is none."""
        main = self.main()
        with suppress(psutil.NoSuchProcess):
            children = main.children() if main else []
            return next((c for c in children if "spawn_main" in " ".join(c.cmdline())), None)
        return None

    def signal(self, number: int, *processes: psutil.Process | None) -> None:
        """Send a signal to those of the processes that are there."""
        if self._running is not None:
            self._running.processes()  # remembered, so that none is lost sight of
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                if process is not None:
                    process.send_signal(number)

    def tick(self) -> None:
        """Start the worker again if it has ended."""
        running = self._running
        if running is None or running.poll() is None:
            return
        now = time.monotonic()
        self._ended = self._ended or now
        left = running.processes()
        if left and now - self._ended < ORPHAN_SECONDS:
            return
        if left:
            self._note(f"{self.name}: {len(left)} processes outlived it by {ORPHAN_SECONDS:.0f} s")
        if now - self._ended > RESTART_SECONDS:
            self._close()
            changes, self._changes = self._changes, {}
            self.start(**changes)

    def stop(self) -> None:
        """End the worker in order for good, and say if it does not leave in time."""
        running = self._running
        if running is None:
            return
        if running.poll() is None:
            try:
                running.terminate(DRAIN_SECONDS)
            except AssertionError:
                self._note(f"{self.name}: SIGTERM did not end it within {DRAIN_SECONDS:.0f} s")
        deadline = time.monotonic() + ORPHAN_SECONDS
        while running.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        if running.processes():
            self._note(f"{self.name}: processes are left after its end")
        self._close()

    def leftovers(self) -> list[str]:
        """Return what lies in the temporary folder, but for the lock that all workers share."""
        return sorted(n for n in os.listdir(self.temporary) if not n.endswith(".lock"))

    def _close(self) -> None:
        running = self._running
        self._running = None
        self._block.close()
        if running is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"===== start {self.starts}, exit code {running.poll()}\n")
                log.write(running.stderr)


def freeze(worker: Worker, *processes: psutil.Process | None) -> Callable[[], None]:
    """Stop processes where they are, and return what lets them go on."""
    worker.signal(signal.SIGSTOP, *processes)
    return lambda: worker.signal(signal.SIGCONT, *processes)
