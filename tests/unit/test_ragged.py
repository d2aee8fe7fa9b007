"""Rows laid end to end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.ragged import Run, ragged

lengths = st.lists(st.integers(min_value=1, max_value=6), min_size=1, max_size=12)


def test_equal_lengths_that_follow_each_other_make_a_run() -> None:
    batch = ragged([np.full(n, n, dtype=np.int32) for n in (3, 3, 2, 1, 1, 1)])

    assert batch.runs == (Run(0, 2, 3), Run(6, 1, 2), Run(8, 3, 1))
    assert batch.ids.tolist() == [3] * 6 + [2] * 2 + [1] * 3
    assert batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 0]
    assert batch.offsets.tolist() == [0, 3, 6, 8, 9, 10, 11]
    assert batch.longest == 3


@given(lengths)
def test_every_token_is_in_exactly_one_run_and_knows_its_place(lengths: list[int]) -> None:
    rows = [np.arange(n, dtype=np.int32) for n in lengths]

    batch = ragged(rows)

    np.testing.assert_array_equal(batch.ids, batch.positions)
    covered = [place for run in batch.runs for place in range(len(batch.ids))[run.tokens]]
    assert covered == list(range(sum(lengths)))
    assert [run.length for run in batch.runs for _ in range(run.rows)] == lengths
    starts = [range(len(batch.ids))[run.tokens].start for run in batch.runs]
    assert set(starts) <= set(batch.offsets.tolist())
