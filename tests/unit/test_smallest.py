"""The search for the smallest size stops at the right one, after few tries."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lifecycle.smallest import smallest


@given(st.sets(st.integers(1, 5_000), min_size=1), st.integers(0, 5_001))
def test_the_smallest_that_passes_is_found_in_logarithmically_many_tries(
    sizes: set[int], needed: int
) -> None:
    tried: list[int] = []

    def passes(size: int) -> bool:
        tried.append(size)
        return size >= needed

    found = smallest(sorted(sizes), passes)

    assert found == min((size for size in sizes if size >= needed), default=None)
    assert len(tried) == len(set(tried)) <= math.floor(math.log2(len(sizes))) + 1


def test_a_metric_that_goes_up_and_down_still_ends_with_a_size_that_passed() -> None:
    good = {2, 5, 6}

    assert smallest(range(1, 9), lambda size: size in good) in good


@pytest.mark.parametrize("sizes", [[], [3]])
def test_nothing_passes_where_nothing_can(sizes: list[int]) -> None:
    assert smallest(sizes, lambda _size: False) is None
