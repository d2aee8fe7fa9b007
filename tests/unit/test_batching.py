"""Invariant 5: a batch keeps within the token budget unless it holds a single row."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.batching import token_budget_batches

LENGTHS = st.lists(st.integers(0, 600), max_size=300).map(lambda v: np.array(v, dtype=np.int64))
BUDGETS = st.integers(1, 5_000)


@given(LENGTHS, BUDGETS)
def test_every_row_is_in_exactly_one_batch(lengths: np.ndarray, budget: int) -> None:
    batches = token_budget_batches(lengths, budget, padded=False)

    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@given(LENGTHS, BUDGETS, st.booleans())
def test_a_batch_keeps_within_the_budget_unless_it_holds_a_single_row(
    lengths: np.ndarray, budget: int, padded: bool
) -> None:
    for batch in token_budget_batches(lengths, budget, padded=padded):
        longest = int(lengths[batch].max())
        tokens = longest * len(batch) if padded else int(lengths[batch].sum())
        assert tokens <= budget or len(batch) == 1


@given(LENGTHS, BUDGETS)
def test_no_two_neighbours_would_fit_into_one_batch(lengths: np.ndarray, budget: int) -> None:
    lengths = np.maximum(lengths, 1)

    batches = token_budget_batches(lengths, budget, padded=False)

    for one, other in itertools.pairwise(batches):
        assert lengths[one].sum() + lengths[other].sum() > budget


@given(st.integers(1, 2_000), st.integers(600, 5_000), st.integers(0, 2**32 - 1))
def test_no_batch_of_short_rows_is_less_than_a_third_of_another(
    rows: int, budget: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 60, size=rows)

    sizes = [
        int(lengths[batch].sum()) for batch in token_budget_batches(lengths, budget, padded=False)
    ]

    assert min(sizes) >= max(sizes) / 3


@given(LENGTHS, BUDGETS)
def test_the_longest_rows_come_first_and_equal_ones_keep_their_order(
    lengths: np.ndarray, budget: int
) -> None:
    order = [int(i) for batch in token_budget_batches(lengths, budget, padded=False) for i in batch]

    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def test_a_worked_example() -> None:
    lengths = np.array([3, 10, 2, 40, 9], dtype=np.int64)

    batches = token_budget_batches(lengths, 20, padded=False)

    assert [batch.tolist() for batch in batches] == [[3], [1], [4, 0, 2]]
