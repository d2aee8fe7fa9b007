"""Rows at fault are found, and their neighbours keep the logits they would have had."""

import math
from collections.abc import Sequence, Set

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.errors import BulkError, DeviceFailed, DeviceOutOfMemory, LeaseLost, RowError
from worker.engine import BetweenBatches, RowOutOfMemory
from worker.heartbeat import HandBack
from worker.isolation import FEW_ROWS, score

CONTROL = np.array([0], dtype=np.int32)
BATCH_ROWS = 4


class RowEngine:
    """Gives each row its id as both of its logits; knows ids that it refuses or has no room for."""

    label_count = 2
    device = "cpu"
    dtype = "fp32"
    token_budget = BATCH_ROWS

    def __init__(self, refused: Set[int] = frozenset(), too_large: Set[int] = frozenset()) -> None:
        self.refused, self.too_large = refused, too_large
        self.calls = 0

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        self.calls += 1
        rows = [int(ids[0]) for ids in token_ids]
        for place, row in enumerate(rows):
            if row in self.too_large:
                raise RowOutOfMemory("no room", place)
        for start in range(0, len(rows), BATCH_ROWS):
            if self.refused & set(rows[start : start + BATCH_ROWS]):
                raise RuntimeError("refused")
            if between is not None:
                between(min(start + BATCH_ROWS, len(rows)))
        return np.array([[row, row] for row in rows], dtype=np.float32).reshape(-1, 2)


def ids_of(rows: int) -> list[NDArray[np.int32]]:
    """Return rows whose ids are 1, 2, 3 … in order; the control has 0."""
    return [np.array([n + 1], dtype=np.int32) for n in range(rows)]


def ignore(_tokens: int) -> None:
    pass


PLACES = st.sets(st.integers(0, 199))


@given(rows=st.integers(FEW_ROWS + 1, 200), refused=PLACES, too_large=PLACES)
def test_all_rows_but_those_at_fault_have_their_logits_in_order(
    rows: int, refused: set[int], too_large: set[int]
) -> None:
    refused = {place for place in refused if place < rows} - too_large
    too_large = {place for place in too_large if place < rows}
    if len(refused) == rows:
        refused.pop()
    engine = RowEngine({n + 1 for n in refused}, {n + 1 for n in too_large})

    logits, failures = score(engine, ids_of(rows), ignore, control=CONTROL)

    expected = dict.fromkeys(refused, RowError.SCORING_FAILED)
    assert failures == expected | dict.fromkeys(too_large, RowError.OUT_OF_MEMORY)
    for place, row in enumerate(logits):
        if place in failures:
            assert np.isnan(row).all()
        else:
            assert list(row) == [place + 1] * 2
    assert engine.calls <= 2 * rows - 1 + len(too_large) + 2


@given(rows=st.integers(1, 4_096), data=st.data())
def test_one_row_at_fault_costs_a_logarithm_of_calls(rows: int, data: st.DataObject) -> None:
    engine = RowEngine({data.draw(st.integers(1, rows))})

    _, failures = score(engine, ids_of(rows), ignore, control=CONTROL)

    assert len(failures) == 1
    assert engine.calls <= 2 * math.ceil(math.log2(rows)) + 1 + 2


def test_rows_without_fault_cost_one_call() -> None:
    engine = RowEngine()

    logits, failures = score(engine, ids_of(50), ignore, control=CONTROL)

    assert (engine.calls, failures) == (1, {})
    assert list(logits[:, 0]) == list(range(1, 51))


def test_no_rows_give_no_logits_and_ask_for_none() -> None:
    engine = RowEngine()

    logits, failures = score(engine, [], ignore, control=CONTROL)

    assert (logits.shape, failures, engine.calls) == ((0, 2), {}, 0)


def test_a_model_that_refuses_every_row_and_the_control_is_at_fault_itself() -> None:
    engine = RowEngine(refused=set(range(1_001)))

    with pytest.raises(RuntimeError, match="refused"):
        score(engine, ids_of(1_000), ignore, control=CONTROL)

    assert engine.calls == 2


def test_when_every_row_of_many_is_refused_it_is_not_the_rows() -> None:
    engine = RowEngine(refused=set(range(1, FEW_ROWS + 2)))

    with pytest.raises(RuntimeError, match="refused"):
        score(engine, ids_of(FEW_ROWS + 1), ignore, control=CONTROL)


@pytest.mark.parametrize("rows", [1, 2, FEW_ROWS])
def test_few_rows_may_all_be_at_fault_while_a_plain_text_is_scored(rows: int) -> None:
    engine = RowEngine(refused=set(range(1, rows + 1)))

    _, failures = score(engine, ids_of(rows), ignore, control=CONTROL)

    assert failures == dict.fromkeys(range(rows), RowError.SCORING_FAILED)


def test_a_device_without_room_for_a_plain_text_blames_no_row() -> None:
    engine = RowEngine(too_large=set(range(101)))

    with pytest.raises(DeviceOutOfMemory, match="no room"):
        score(engine, ids_of(100), ignore, control=CONTROL)

    assert engine.calls == 2


def test_an_engine_that_breaks_during_the_search_blames_no_row() -> None:
    engine = RowEngine(refused={3})

    def break_late(_tokens: int) -> None:
        if engine.calls > 4:
            engine.refused = set(range(101))

    with pytest.raises(RuntimeError, match="refused"):
        score(engine, ids_of(100), break_late, control=CONTROL)


@pytest.mark.parametrize(
    "error", [HandBack(), LeaseLost("lost"), TimeoutError(), KeyboardInterrupt()], ids=repr
)
@pytest.mark.parametrize("refused", [set(), {2}], ids=["sound", "searching"])
def test_what_ends_the_work_between_batches_passes_through(
    error: BaseException, refused: set[int]
) -> None:
    told: list[int] = []

    def between(tokens: int) -> None:
        told.append(tokens)
        if len(told) == 3:
            raise error

    with pytest.raises(type(error)):
        score(RowEngine(refused), ids_of(100), between, control=CONTROL)

    assert len(told) == 3


@pytest.mark.parametrize(
    "error", [DeviceFailed("cuda:0 failed"), DeviceOutOfMemory("the model")], ids=repr
)
def test_an_error_that_is_not_about_rows_is_not_searched_for(error: BulkError) -> None:
    calls: list[int] = []

    class Broken(RowEngine):
        def forward(self, *_args: object) -> NDArray[np.float32]:
            calls.append(1)
            raise error

    with pytest.raises(type(error)):
        score(Broken(), ids_of(100), ignore, control=CONTROL)

    assert len(calls) == 1


def test_a_memory_error_of_one_row_says_that_it_does_not_fit() -> None:
    class Full(RowEngine):
        def forward(
            self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
        ) -> NDArray[np.float32]:
            if any(int(ids[0]) == 7 for ids in token_ids):
                raise MemoryError
            return super().forward(token_ids, between)

    _, failures = score(Full(), ids_of(20), ignore, control=CONTROL)

    assert failures == {6: RowError.OUT_OF_MEMORY}


def test_the_search_is_told_of_between_calls_and_counts_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[int] = []

    score(RowEngine({30}), ids_of(64), told.append, control=CONTROL)

    assert told[-1] == 63
    (record,) = caplog.records
    assert record.getMessage() == (
        "64 rows cannot be scored together, looking for those at fault: RuntimeError: refused"
    )
