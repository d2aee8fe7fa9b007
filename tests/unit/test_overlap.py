"""Steps beside the engine: in order, a bounded number ahead or behind, and no thread stays."""

import threading
import time
from collections.abc import Generator
from functools import partial

import pytest

from schemas.errors import InputCorrupt, StorageUnavailable
from support.scoring import threads_beside
from worker.overlap import WriteBehind, prefetched


def counted(
    end: int, closed: list[bool], error: BaseException | None = None
) -> Generator[int, None, None]:
    try:
        yield from range(end)
        if error is not None:
            raise error
    finally:
        closed.append(True)


def test_what_is_prefetched_comes_in_order_and_no_thread_stays() -> None:
    closed: list[bool] = []

    assert list(prefetched(counted(100, closed))) == list(range(100))
    assert closed == [True]
    assert threads_beside() == []


def test_an_error_comes_in_its_place_after_the_items_before_it() -> None:
    closed: list[bool] = []
    seen: list[int] = []

    with pytest.raises(InputCorrupt, match="page 3"):
        seen.extend(prefetched(counted(3, closed, InputCorrupt("page 3"))))

    assert closed == [True]
    assert threads_beside() == []


def test_the_next_item_is_made_while_the_caller_has_the_last() -> None:
    made = threading.Event()

    def items() -> Generator[int, None, None]:
        yield 0
        made.set()
        yield 1

    upcoming = prefetched(items())
    next(upcoming)

    assert made.wait(10)
    upcoming.close()


def test_no_more_than_one_item_is_made_ahead() -> None:
    made: list[int] = []

    def items() -> Generator[int, None, None]:
        for n in range(10):
            made.append(n)
            yield n

    upcoming = prefetched(items())
    for n in range(5):
        next(upcoming)
        assert max(made) <= n + 1
    upcoming.close()


def test_closing_waits_for_the_item_under_way_and_closes_the_rest() -> None:
    closed: list[bool] = []
    upcoming = prefetched(counted(10, closed))
    next(upcoming)

    upcoming.close()

    assert closed == [True]
    assert threads_beside() == []


def test_what_is_written_behind_is_written_in_order_one_at_a_time() -> None:
    written: list[int] = []
    under_way = threading.Lock()

    def write(number: int) -> None:
        assert under_way.acquire(blocking=False)
        written.append(number)
        under_way.release()

    with WriteBehind() as behind:
        for number in range(100):
            behind(partial(write, number))
        behind.wait()

    assert written == list(range(100))
    assert threads_beside() == []


def test_the_caller_goes_on_while_the_last_call_is_under_way() -> None:
    goes_on = threading.Event()
    seen: list[bool] = []

    with WriteBehind() as behind:
        behind(lambda: seen.append(goes_on.wait(10)))
        goes_on.set()
        behind.wait()

    assert seen == [True]


def fail() -> None:
    raise StorageUnavailable("full")


def test_an_error_of_a_call_keeps_the_next_from_being_made() -> None:
    written: list[int] = []

    with WriteBehind() as behind:
        behind(fail)
        with pytest.raises(StorageUnavailable, match="full"):
            behind(partial(written.append, 1))

    assert written == []
    assert threads_beside() == []


def test_an_error_of_the_last_call_is_raised_to_whoever_waits() -> None:
    with WriteBehind() as behind:
        behind(fail)
        with pytest.raises(StorageUnavailable, match="full"):
            behind.wait()


def test_a_block_that_is_left_by_an_error_waits_for_the_call_under_way() -> None:
    left, written = threading.Event(), threading.Event()

    def write() -> None:
        left.wait(10)
        time.sleep(0.05)
        written.set()

    def leave() -> None:
        with WriteBehind() as behind:
            behind(write)
            left.set()
            raise InputCorrupt("page 3")

    with pytest.raises(InputCorrupt):
        leave()

    assert written.is_set()
    assert threads_beside() == []
