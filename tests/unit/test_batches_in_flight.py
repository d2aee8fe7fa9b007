"""A GPU works on one batch while the next is made ready; nothing gets lost or mixed up by that.

The device here is a pretended one that computes when it is waited for, and fails when it is told.
"""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import DeviceFailed
from worker.engine import RowOutOfMemory
from worker.engine.batched import BATCHES_IN_FLIGHT, BatchedEngine
from worker.engine.ragged import Rows
from worker.engine.transfer import Fetched

GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
GPU_BROKEN = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

lengths = st.lists(st.integers(min_value=1, max_value=30), min_size=1, max_size=40)
budgets = st.integers(min_value=1, max_value=200)
sizes = st.integers(min_value=1, max_value=200)


class LateDevice:
    """A classifier and the way to it: takes work at once, does it when it is waited for.

    Args:
        tokens: How many fit its memory; more are refused when they are launched.
        full_at: At which launches, counted from 0, its memory is full whatever is launched.
        breaks_at: The batch, counted from 0, whose work breaks it; None for never.
    """

    def __init__(
        self,
        tokens: int = 1_000_000,
        full_at: frozenset[int] = frozenset(),
        breaks_at: int | None = None,
    ) -> None:
        self._tokens = tokens
        self._full_at = full_at
        self._breaks_at = breaks_at
        self._launches = 0
        self._launched: Rows = ()
        self._done = 0
        self._under_way: deque[int] = deque()
        self.most_under_way = 0
        self.batches = 0
        self.rows = 0
        self.refused: list[list[int]] = []  # the first id of each row, batch by batch

    def __call__(self, rows: Rows) -> Tensor:
        self._refuse_when_broken()
        full = self._launches in self._full_at
        self._launches += 1
        if full or sum(map(len, rows)) > self._tokens:
            self.refused.append([int(row[0]) for row in rows])
            raise GPU_FULL
        self._launched = rows
        return torch.empty(len(rows), 2)

    def upload(self, numbers: NDArray[np.int64]) -> Tensor:
        raise AssertionError("this classifier needs no upload")

    def fetch(self, logits: Tensor) -> Fetched:
        rows, number = self._launched, self.batches
        assert len(rows) == len(logits)
        self.batches += 1
        self.rows += len(rows)
        self._under_way.append(number)
        self.most_under_way = max(self.most_under_way, len(self._under_way))

        def numbers() -> NDArray[np.float32]:
            assert self._under_way.popleft() == number  # in the order they were launched
            self._done += 1
            self._refuse_when_broken()
            return logits_of(rows)

        return numbers

    @property
    def idle(self) -> bool:
        return not self._under_way

    def _refuse_when_broken(self) -> None:
        if self._breaks_at is not None and self._done > self._breaks_at:
            raise GPU_BROKEN


def logits_of(rows: Rows) -> NDArray[np.float32]:
    """Return what tells every row from every other."""
    return np.array([[row[0], len(row)] for row in rows], dtype=np.float32)


def rows_of(lengths: list[int]) -> list[NDArray[np.int32]]:
    return [np.full(length, i, dtype=np.int32) for i, length in enumerate(lengths)]


def engine_of(device: LateDevice, token_budget: int) -> BatchedEngine:
    return BatchedEngine(
        device,
        label_count=2,
        device=torch.device("cuda", 0),
        dtype="bf16",
        token_budget=token_budget,
        transfer=device,
    )


@settings(deadline=None)
@given(lengths, budgets)
def test_every_row_gets_its_own_logits_and_all_work_is_done_on_return(
    lengths: list[int], budget: int
) -> None:
    rows, device, heard = rows_of(lengths), LateDevice(), list[int]()

    logits = engine_of(device, budget).forward(rows, between=heard.append)

    np.testing.assert_array_equal(logits, logits_of(rows))
    assert device.idle
    assert device.most_under_way == min(device.batches, BATCHES_IN_FLIGHT)
    assert len(heard) == device.batches
    assert heard == sorted(set(heard))
    assert heard[-1] == sum(lengths)


def test_the_next_batch_is_launched_before_the_last_is_waited_for() -> None:
    device = LateDevice()
    under_way: list[bool] = []

    engine_of(device, 10).forward(
        rows_of([10] * 5), between=lambda _tokens: under_way.append(not device.idle)
    )

    assert under_way == [True, True, True, True, False]


@settings(deadline=None)
@given(lengths, budgets, sizes)
def test_a_small_device_scores_all_rows_or_names_one_that_does_not_fit(
    lengths: list[int], budget: int, size: int
) -> None:
    rows, device = rows_of(lengths), LateDevice(tokens=size)
    engine = engine_of(device, budget)
    left, found = list(range(len(rows))), np.full((len(rows), 2), np.nan, dtype=np.float32)

    while left:
        try:
            found[left] = engine.forward([rows[i] for i in left])
        except RowOutOfMemory as error:
            refused = left.pop(error.row)
            assert lengths[refused] > size
            device = LateDevice(tokens=size)  # what was under way is of no interest
            engine = engine_of(device, engine.token_budget)
        else:
            break

    scored = np.isfinite(found[:, 0])
    assert scored.tolist() == [length <= size for length in lengths]
    np.testing.assert_array_equal(found[scored], logits_of(rows)[scored])


@settings(deadline=None)
@given(lengths, budgets, st.frozensets(st.integers(min_value=0, max_value=20)))
def test_no_row_is_lost_or_scored_twice_when_memory_runs_out_with_a_batch_under_way(
    lengths: list[int], budget: int, full_at: frozenset[int]
) -> None:
    rows, device = rows_of(lengths), LateDevice(full_at=full_at)
    engine = engine_of(device, budget)

    try:
        logits = engine.forward(rows)
    except RowOutOfMemory as error:
        named = error.row
        assert device.refused[-1] == [named]
    else:
        np.testing.assert_array_equal(logits, logits_of(rows))
        assert device.rows == len(rows)
        assert device.idle
        assert all(len(refused) > 1 for refused in device.refused)


@settings(deadline=None)
@given(lengths, budgets, st.integers(min_value=0, max_value=5))
def test_a_device_that_breaks_is_told_however_late_it_shows(
    lengths: list[int], budget: int, breaks_at: int
) -> None:
    rows, device = rows_of(lengths), LateDevice(breaks_at=breaks_at)
    heard: list[int] = []
    batches = LateDevice()
    engine_of(batches, budget).forward(rows)

    if batches.batches <= breaks_at:
        np.testing.assert_array_equal(engine_of(device, budget).forward(rows), logits_of(rows))
        return
    with pytest.raises(DeviceFailed, match=r"^cuda:0 failed: CUDA error: an illegal"):
        engine_of(device, budget).forward(rows, between=heard.append)

    assert len(heard) == breaks_at  # no batch after the last sound one was called scored
