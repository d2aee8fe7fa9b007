"""From logits to labels and scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas.job import ProblemType
from worker.scores import NO_LABEL, probabilities, score_rows

SINGLE: ProblemType = "single_label_classification"
MULTI: ProblemType = "multi_label_classification"

LOGITS = arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(2, 6)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


@given(LOGITS)
def test_softmax_gives_probabilities_that_sum_to_one_for_any_finite_logits(
    logits: np.ndarray,
) -> None:
    result = probabilities(logits, SINGLE)

    assert result.dtype == np.float32
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_allclose(result.sum(axis=1, dtype=np.float64), 1, atol=1e-6)


@given(LOGITS)
def test_sigmoid_scores_every_label_by_itself(logits: np.ndarray) -> None:
    result = probabilities(logits, MULTI)

    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_array_equal(result[:, :1], probabilities(logits[:, :1], MULTI))


@given(LOGITS)
def test_the_label_has_the_largest_logit_and_its_score_is_that_of_the_label(
    logits: np.ndarray,
) -> None:
    rows = score_rows(logits, SINGLE)

    picked = np.take_along_axis(rows.scores, rows.label_index[:, None].astype(np.int64), axis=1)
    np.testing.assert_array_equal(picked[:, 0], rows.score)
    np.testing.assert_array_equal(rows.score, rows.scores.max(axis=1))
    assert rows.finite.all()


def test_softmax_and_sigmoid_of_known_logits() -> None:
    logits = np.array([[0.0, np.log(3.0)]], dtype=np.float32)

    np.testing.assert_allclose(probabilities(logits, SINGLE), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(logits, MULTI), [[0.5, 0.75]], rtol=1e-6)


def test_a_regression_has_a_value_and_no_label() -> None:
    rows = score_rows(np.array([[-3.5], [12.0]], dtype=np.float32), "regression")

    assert rows.score.tolist() == [-3.5, 12.0]
    assert rows.label_index.tolist() == [NO_LABEL, NO_LABEL]


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI, "regression"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_with_a_logit_that_is_not_finite_is_flagged_and_harms_no_other(
    problem_type: ProblemType, bad: float
) -> None:
    logits = np.array([[1.0, 2.0], [bad, 0.0], [2.0, 1.0]], dtype=np.float32)

    rows = score_rows(logits, problem_type)

    assert rows.finite.tolist() == [True, False, True]
    assert rows.label_index[1] == NO_LABEL
    assert np.isnan(rows.score[1])
    assert np.isnan(rows.scores[1]).all()
    clean = score_rows(logits[[0, 2]], problem_type)
    np.testing.assert_array_equal(rows.score[[0, 2]], clean.score)


def test_no_rows_give_no_scores() -> None:
    rows = score_rows(np.empty((0, 3), dtype=np.float32), SINGLE)

    assert (len(rows.score), rows.scores.shape) == (0, (0, 3))
