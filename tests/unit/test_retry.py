"""What follows an error, as a table of numbers."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import errors
from schemas.errors import (
    BulkError,
    DeviceFailed,
    InputCorrupt,
    ModelIncompatible,
    StorageUnavailable,
    TransientError,
    UnexpectedError,
)
from schemas.settings import ScheduleSettings
from worker.retry import Bury, Retry, decide

SETTINGS = ScheduleSettings(max_attempts=4, retry_base_seconds=2, retry_cap_seconds=10)


def highest(_low: float, high: float) -> float:
    return high


def lowest(low: float, _high: float) -> float:
    return low


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"), [(1, 1.0, 2.0), (2, 2.0, 4.0), (3, 4.0, 8.0)]
)
def test_the_delay_doubles_and_half_of_it_is_random(
    attempt: int, shortest: float, longest: float
) -> None:
    error = StorageUnavailable("503")

    assert decide(error, attempt, SETTINGS, lowest) == Retry(shortest)
    assert decide(error, attempt, SETTINGS, highest) == Retry(longest)


def test_the_delay_never_passes_its_cap() -> None:
    patient = SETTINGS.model_copy(update={"max_attempts": 50})

    assert decide(StorageUnavailable("503"), 40, patient, highest) == Retry(10)


def test_the_last_attempt_buries_a_transient_error_under_its_code() -> None:
    assert decide(StorageUnavailable("503"), 4, SETTINGS) == Bury("storage_unavailable")


@pytest.mark.parametrize("error", [InputCorrupt("page"), ModelIncompatible("head")])
def test_a_permanent_error_buries_at_the_first_attempt(error: BulkError) -> None:
    assert decide(error, 1, SETTINGS) == Bury(error.code)


def test_an_unexpected_error_is_tried_twice_and_then_buried() -> None:
    assert isinstance(decide(UnexpectedError("bug"), 1, SETTINGS), Retry)
    assert decide(UnexpectedError("bug"), 2, SETTINGS) == Bury("unexpected")


def test_a_chunk_whose_device_failed_is_never_buried_for_it() -> None:
    assert decide(DeviceFailed("cuda:0"), 100, SETTINGS, highest) == Retry(10)


@given(attempt=st.integers(1, 1000), limit=st.integers(1, 20))
def test_no_error_is_retried_for_ever(attempt: int, limit: int) -> None:
    settings = ScheduleSettings(max_attempts=limit)

    decision = decide(StorageUnavailable("503"), attempt, settings)

    assert isinstance(decision, Bury) == (attempt >= limit)


def test_every_error_of_the_tree_has_a_decision_and_a_code_of_its_own() -> None:
    classes = [
        c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BulkError)
    ]

    for error_class in classes:
        decision = decide(error_class("x"), 1, SETTINGS)
        assert isinstance(decision, Retry) == issubclass(error_class, TransientError)
    assert len({c.code for c in classes}) == len(classes)
