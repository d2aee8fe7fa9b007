"""The local stack: an embedded broker and workers on this machine, started, watched and stopped.

The code that runs on it is the cluster's; only who starts the processes differs.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self

from producer.embedded_broker import EmbeddedBroker
from producer.processes import (
    ChildProcess,
    module_command,
    options,
    require_installed,
    wait_until_ready,
)
from schemas.job import PRIORITIES
from schemas.message import LIFECYCLE
from schemas.processors import usable_processors

logger = logging.getLogger(__name__)

WORKER_START_SECONDS = 60.0
# A worker that ends by itself is started again so often; its child's crashes do not count.
WORKER_RESTARTS = 5
SUPERVISE_SECONDS = 1.0
# Beside Ctrl-C: a service manager's stop, and a terminal that was closed.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What a local stack is made of."""

    directory: Path  # the broker's files
    log: Path | None  # the workers' output; None is our stderr
    persistent: bool = False
    workers: int = 1
    device: str | None = None
    queues: str = ",".join(PRIORITIES)
    lifecycle: bool = False  # one more worker, for lifecycle tasks


class LocalStack:
    """An embedded broker and its workers; a context manager, to be used in the main thread."""

    def __init__(self, made_of: StackOptions) -> None:
        require_worker()
        self._options = made_of
        self._broker = EmbeddedBroker(made_of.directory, persistent=made_of.persistent)
        self._workers: list[ChildProcess] = []
        self._restarts = 0

    @property
    def url(self) -> str:
        """URL of the broker, with its password."""
        return self._broker.url

    def start(self) -> Self:
        """Start the broker, wait until it answers, and start the workers, which come up later."""
        self._broker.start()
        try:
            for number in range(1, self._options.workers + self._options.lifecycle + 1):
                self._workers.append(self._worker(number).start())
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_ready(self) -> None:
        """Return when every worker answers a ping."""
        from producer.broker import Broker

        broker = Broker(self.url)
        for worker in self._workers:
            wait_until_ready(
                worker,
                lambda: len(broker.workers(timeout_seconds=0.5)) >= len(self._workers),
                timeout_seconds=WORKER_START_SECONDS,
                pause=time.sleep,
                clock=time.monotonic,
            )

    def supervise(self) -> None:
        """Start a worker again that has ended by itself.

        Raises:
            ProcessEnded: The broker ended, or workers keep ending.
        """
        self._broker.check()
        for number, worker in enumerate(self._workers, start=1):
            if worker.exit_code is None:
                continue
            if self._restarts >= WORKER_RESTARTS:
                worker.check()
            self._restarts += 1
            logger.warning("worker %d ended with %s and is started again", number, worker.exit_code)
            self._workers[number - 1] = self._worker(number).start()

    def stop(self) -> None:
        """Stop the workers, all at once, and then the broker they report to."""
        try:
            for worker in self._workers:
                worker.terminate()
            for worker in self._workers:
                worker.stop()
        finally:
            self._broker.stop()

    def _worker(self, number: int) -> ChildProcess:
        scores = number <= self._options.workers
        queues = self._options.queues if scores else LIFECYCLE
        arguments = options(name=f"local-{number}", queues=queues, device=self._options.device)
        return ChildProcess(
            f"worker {number}",
            module_command("worker", arguments),
            log=self._options.log,
            environment=worker_environment(self.url, self._options.workers, os.environ),
        )

    def __enter__(self) -> Self:
        """Start the stack."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the stack."""
        self.stop()


def require_worker() -> None:
    """Raise ConfigurationError when this environment cannot score."""
    for module in ("torch", "transformers"):
        require_installed(module, "worker")


def worker_environment(url: str, workers: int, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of one of `workers` workers that share this machine's cores."""
    changes = {"BULKSCORE_REDIS_URL": url}
    if "BULKSCORE_LOG_FORMAT" not in given:
        changes["BULKSCORE_LOG_FORMAT"] = "human"
    if "BULKSCORE_HTTP_PORT" in given and workers > 1:
        changes["BULKSCORE_HTTP_PORT"] = ""  # only one of them could have it
    if "BULKSCORE_RUN_DIR" in given:
        changes["BULKSCORE_RUN_DIR"] = ""  # of a worker alone
    if workers > 1 and not {"BULKSCORE_TORCH_THREADS", "OMP_NUM_THREADS"} & given.keys():
        changes["BULKSCORE_TORCH_THREADS"] = str(max(1, usable_processors() // workers))
    return changes


def state_folder() -> Path:
    """Return the folder for logs and the long-running stack: XDG's, unless told otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "bulkscore"


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does, so that it cleans up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise_forever(stack: LocalStack, others: Sequence[ChildProcess] = ()) -> NoReturn:
    """Look after the stack, and fail when one of `others` ends."""
    while True:
        stack.supervise()
        for other in others:
            other.check()
        time.sleep(SUPERVISE_SECONDS)
