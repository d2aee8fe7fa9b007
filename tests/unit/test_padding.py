"""Padding puts every token where it belongs and marks the rest."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.padding import pad, unused_id

Side = Literal["right", "left"]

ROWS = st.lists(st.lists(st.integers(0, 49), min_size=1, max_size=20), min_size=1, max_size=20).map(
    lambda rows: [np.array(row, dtype=np.int32) for row in rows]
)


@given(ROWS, st.sampled_from(["right", "left"]))
def test_the_mask_picks_out_each_row_again(rows: list[np.ndarray], side: Side) -> None:
    ids, mask = pad(rows, pad_id=7, side=side)

    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, padded, kept in zip(rows, ids, mask, strict=True):
        np.testing.assert_array_equal(padded[kept == 1], row)
        assert (padded[kept == 0] == 7).all()


@pytest.mark.parametrize(
    ("side", "expected"), [("right", [[5, 6], [8, 0]]), ("left", [[5, 6], [0, 8]])]
)
def test_padding_goes_to_the_side_asked_for(side: Side, expected: list[list[int]]) -> None:
    rows = [np.array([5, 6], dtype=np.int32), np.array([8], dtype=np.int32)]

    ids, _ = pad(rows, pad_id=0, side=side)

    assert ids.tolist() == expected


@given(ROWS)
def test_an_unused_id_is_in_no_row(rows: list[np.ndarray]) -> None:
    free = unused_id(rows, vocabulary=50)

    used = {int(i) for row in rows for i in row}
    assert free is None if len(used) == 50 else free not in used
