"""From logits to labels and scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas.job import LongText, ProblemType
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


# Rows of one to four passages.
PASSAGES = st.lists(st.integers(1, 4), min_size=1, max_size=8)
PROBLEMS: tuple[ProblemType, ...] = (SINGLE, MULTI, "regression")


def passage_logits(passages: list[int], seed: int) -> np.ndarray:
    logits: np.ndarray = np.random.default_rng(seed).normal(size=(sum(passages), 3))
    return logits.astype(np.float32)


def by_row(values: np.ndarray, passages: list[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(passages)[:-1])


@given(PASSAGES, st.integers(0, 99), st.sampled_from(PROBLEMS))
def test_the_scores_of_windows_are_the_mean_over_the_passages(
    passages: list[int], seed: int, problem_type: ProblemType
) -> None:
    logits = passage_logits(passages, seed)

    rows = score_rows(logits, problem_type, np.array(passages), "windows")

    parts = by_row(probabilities(logits, problem_type), passages)
    means = [part.mean(axis=0, dtype=np.float64) for part in parts]
    np.testing.assert_allclose(rows.scores, means, rtol=1e-6)
    np.testing.assert_array_equal(rows.score, rows.scores.max(axis=1))
    if problem_type == SINGLE:
        np.testing.assert_allclose(rows.scores.sum(axis=1), 1, atol=1e-6)


@given(PASSAGES, st.integers(0, 99))
def test_where_labels_exclude_each_other_the_surest_passage_decides(
    passages: list[int], seed: int
) -> None:
    logits = passage_logits(passages, seed)

    rows = score_rows(logits, SINGLE, np.array(passages), "windows-max")

    parts = by_row(probabilities(logits, SINGLE), passages)
    surest = [part[part.max(axis=1).argmax()] for part in parts]
    np.testing.assert_array_equal(rows.scores, surest)
    np.testing.assert_array_equal(rows.label_index, np.argmax(surest, axis=1))


@given(PASSAGES, st.integers(0, 99), st.sampled_from((MULTI, "regression")))
def test_where_they_do_not_each_label_has_its_largest_score(
    passages: list[int], seed: int, problem_type: ProblemType
) -> None:
    logits = passage_logits(passages, seed)

    rows = score_rows(logits, problem_type, np.array(passages), "windows-max")

    parts = by_row(probabilities(logits, problem_type), passages)
    np.testing.assert_array_equal(rows.scores, [part.max(axis=0) for part in parts])


@given(LOGITS, st.sampled_from(PROBLEMS), st.sampled_from(("windows", "windows-max")))
def test_a_text_of_one_passage_has_the_scores_of_its_passage(
    logits: np.ndarray, problem_type: ProblemType, long_text: LongText
) -> None:
    alone = score_rows(logits, problem_type)

    rows = score_rows(logits, problem_type, np.ones(len(logits), np.int64), long_text)

    np.testing.assert_array_equal(rows.scores, alone.scores)
    np.testing.assert_array_equal(rows.label_index, alone.label_index)


@pytest.mark.parametrize("long_text", ["windows", "windows-max"])
@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_one_passage_without_a_score_spoils_its_own_row_alone(
    problem_type: ProblemType, long_text: LongText
) -> None:
    logits = passage_logits([2, 3, 1], seed=0)
    logits[3, 1] = np.nan

    rows = score_rows(logits, problem_type, np.array([2, 3, 1]), long_text)

    assert rows.finite.tolist() == [True, False, True]
    assert np.isnan(rows.scores[1]).all()
    assert np.isfinite(rows.scores[[0, 2]]).all()


@pytest.mark.parametrize("long_text", ["windows", "windows-max"])
def test_no_rows_have_no_passages(long_text: LongText) -> None:
    rows = score_rows(np.empty((0, 3), np.float32), SINGLE, np.empty(0, np.int64), long_text)

    assert (rows.scores.shape, len(rows.score)) == ((0, 3), 0)
