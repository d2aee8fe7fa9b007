"""A worker that writes down what it does when, and may play a device that only takes its time.

Runs in place of `python -m worker`, with the same options. Its child imports this module anew, so
what is patched here at import is patched there as well. The environment says:

    TRACE_FOLDER        where each process writes its spans, one JSON list a line
    TOKENS_PER_SECOND   score nothing: wait as a host does whose device computes at this rate, one
                        batch after the other, also of the workers of one folder. What the host
                        spends on launching kernels is left out.
"""

import contextlib
import fcntl
import functools
import json
import os
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import typer
from numpy.typing import NDArray

import worker.chunk
import worker.models
import worker.runner
import worker.scoring
from schemas.ledger import Ledger
from schemas.storage import Storage
from worker.batching import token_budget_batches
from worker.engine import BetweenBatches
from worker.engine.batched import BATCHES_IN_FLIGHT
from worker.engine.device import launch_at_once
from worker.writer import ResultWriter

FOLDER_VARIABLE = "TRACE_FOLDER"
RATE_VARIABLE = "TOKENS_PER_SECOND"
ENGINE, ATTEMPT = "engine", "attempt"
SIMULATED_TOKEN_BUDGET = 32_768


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Something that took from `start` to `end`, in seconds of the machine's monotonic clock."""

    start: float
    end: float
    name: str
    process: int


def read_spans(folder: Path) -> list[Span]:
    """Return what all processes have written, by time."""
    lines = [line for path in folder.glob("*.spans") for line in path.read_text().splitlines()]
    return sorted(Span(*json.loads(line)) for line in lines)


@functools.cache
def _file() -> TextIO:
    return Path(os.environ[FOLDER_VARIABLE], f"{os.getpid()}.spans").open("a", buffering=1)


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Write down how long the block takes."""
    start = time.monotonic()
    try:
        yield
    finally:
        _file().write(json.dumps([start, time.monotonic(), name, os.getpid()]) + "\n")


def traced(owner: Any, attribute: str, name: str) -> None:
    """Let a function or method write down each call."""
    function = getattr(owner, attribute)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with span(name):
            return function(*arguments, **options)

    setattr(owner, attribute, call)


def traced_items(owner: Any, attribute: str, name: str) -> None:
    """Let a generator function write down how long each item takes to come."""
    function = getattr(owner, attribute)

    def generate(*arguments: Any, **options: Any) -> Iterator[Any]:
        with contextlib.closing(function(*arguments, **options)) as items:
            while True:
                with span(name):
                    found = list(next_of(items))
                if not found:
                    return
                yield found[0]

    setattr(owner, attribute, generate)


def next_of(items: Iterator[Any]) -> Iterator[Any]:
    """Yield one item, or none at the end."""
    for item in items:
        yield item
        return


def traced_engines() -> None:
    """Let every engine that is loaded write down its work, or play a device."""
    load: Callable[..., Any] = worker.models.load_model

    def load_model(*arguments: Any, **options: Any) -> Any:
        loaded = load(*arguments, **options)
        rate = os.environ.get(RATE_VARIABLE)
        engine = loaded.engine
        if rate:
            folder = Path(os.environ[FOLDER_VARIABLE])
            engine = SimulatedEngine(engine.label_count, float(rate), folder)
        traced(engine, "forward", ENGINE)
        return replace(loaded, engine=engine)

    worker.models.load_model = load_model


class SimulatedEngine:
    """Takes the time of a device of a certain rate, and gives logits of zero.

    Args:
        label_count: Logits per row.
        tokens_per_second: The rate.
        folder: Engines with the same folder share the device.
    """

    # Windows are as large as those of the device that it stands for.
    device, dtype, token_budget = "cuda (simulated)", "fp32", SIMULATED_TOKEN_BUDGET

    def __init__(self, label_count: int, tokens_per_second: float, folder: Path) -> None:
        launch_at_once()
        self.label_count = label_count
        self._rate = tokens_per_second
        self._device = os.open(folder / "device", os.O_RDWR | os.O_CREAT)

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        """Wait until the device has had its time for all rows, two batches ahead of it."""
        lengths = np.array([len(row) for row in token_ids], dtype=np.int64)
        batches = token_budget_batches(lengths, self.token_budget, padded=False)
        tokens = [int(lengths[batch].sum()) for batch in batches]
        ends: deque[float] = deque()
        for number, count in enumerate(tokens):
            ends.append(self._launch(count))
            if len(ends) == BATCHES_IN_FLIGHT:
                wait_until(ends.popleft())
            if between is not None:
                between(sum(tokens[: number + 1]))
        for end in ends:
            wait_until(end)
        return np.zeros((len(token_ids), self.label_count), dtype=np.float32)

    def _launch(self, tokens: int) -> float:
        """Return when the device will have done this, after all that it was given before."""
        fcntl.flock(self._device, fcntl.LOCK_EX)
        try:
            [free] = array("d", os.pread(self._device, 8, 0) or bytes(8))
            end = max(time.monotonic(), free) + tokens / self._rate
            os.pwrite(self._device, array("d", [end]).tobytes(), 0)
        finally:
            fcntl.flock(self._device, fcntl.LOCK_UN)
        return end


def wait_until(end: float) -> None:
    """Return at a time of the monotonic clock, or at once where it is over."""
    time.sleep(max(0.0, end - time.monotonic()))


def install() -> None:
    """Patch what is to be traced; names are those of the report."""
    traced(worker.runner.ChunkRunner, "run", ATTEMPT)
    traced(Ledger, "begin", "begin")
    traced(Ledger, "finish", "finish")
    traced(Storage, "exists", "look for the result")
    traced_items(worker.chunk, "read_windows", "read")
    traced(worker.chunk, "tokenize", "tokenize")
    traced(worker.scoring, "result_rows", "make result rows")
    traced(ResultWriter, "write", "write rows")
    traced(ResultWriter, "publish", "checksum, create")
    traced_engines()


if FOLDER_VARIABLE in os.environ:
    install()

if __name__ == "__main__":
    from worker.__main__ import main

    typer.run(main)
