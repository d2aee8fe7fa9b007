"""Measures the stages of a chunk: how long each took, and from when to when."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

Stage = Literal["load", "read", "tokenize", "score", "write"]
STAGES: tuple[Stage, ...] = get_args(Stage)

T = TypeVar("T")


@dataclass(slots=True)
class StageTime:
    """Time spent in a stage.

    Attributes:
        seconds: In all.
        times: How often it was entered.
        began: When it was entered first, in seconds since the epoch.
        ended: When it was left last.
    """

    seconds: float = 0.0
    times: int = 0
    began: float = 0.0
    ended: float = 0.0


class StageClock:
    """Adds up the time of each stage of one attempt.

    Stages run in threads of their own, each of them in one at a time, and overlap: their sum is
    more than the time of the attempt.

    Args:
        observe: Told each time a stage was left, with its seconds.
    """

    def __init__(self, observe: Callable[[Stage, float], None] | None = None) -> None:
        self.stages: dict[Stage, StageTime] = {stage: StageTime() for stage in STAGES}
        self._observe = observe

    @contextlib.contextmanager
    def __call__(self, stage: Stage) -> Iterator[None]:
        """Count the time of the block towards `stage`."""
        spent, started, began = self.stages[stage], time.perf_counter(), time.time()
        spent.began = spent.began or began
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            spent.seconds += seconds
            spent.times += 1
            spent.ended = began + seconds
            if self._observe is not None:
                self._observe(stage, seconds)

    def each(self, stage: Stage, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield from `items`, counting the time that each takes to come towards `stage`."""
        with contextlib.closing(items):
            while True:
                with self(stage):
                    found = next(items, self)
                if isinstance(found, StageClock):
                    return
                yield found

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds in each stage that was entered."""
        return {name: round(spent.seconds, 3) for name, spent in self.stages.items() if spent.times}
