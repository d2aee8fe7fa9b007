"""What goes on in threads while the engine works: the step before it and the step after it."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield from `items`, computing the next one in a thread while the caller has the last.

    An error of `items` reaches the caller in its place. Closing this waits for the item under way
    and closes `items`; no thread stays behind.
    """
    with contextlib.closing(items), ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        upcoming = pool.submit(_first, items)
        while found := upcoming.result():
            upcoming = pool.submit(_first, items)
            yield found[0]


def _first(items: Iterator[T]) -> list[T]:
    """Return the next item in a list, which is empty at the end."""
    return list(islice(items, 1))


class WriteBehind:
    """Makes calls in a thread, one after the other, while the caller goes on.

    At most one is under way: the next waits for it. An error of a call is raised by the next one,
    or by `wait`. Leaving the block waits for the call under way; no thread stays behind.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._pending: Future[None] | None = None

    def __call__(self, call: Callable[[], None]) -> None:
        """Make `call` soon; raises what the call before it raised."""
        self.wait()
        self._pending = self._pool.submit(call)

    def wait(self) -> None:
        """Return when all calls have been made; raises what the last one raised."""
        if self._pending is not None:
            self._pending.result()

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
