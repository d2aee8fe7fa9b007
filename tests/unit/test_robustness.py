"""Flips and drops are those of the texts that were changed, over all seeds."""

from collections.abc import Sequence

import numpy as np
import pytest

from support.evaluated import REGRESSION, evaluated
from worker.lifecycle.evaluated_rows import EvaluatedRows
from worker.lifecycle.perturbations import PERTURBATIONS
from worker.lifecycle.robustness import robustness_of

TEXTS = ["good, yes", "plain", "good, no", "bad; yes", "12"]
ASKED = np.array([1, 0, 1, 0, 0])


def by_punctuation(texts: Sequence[str]) -> EvaluatedRows:
    """Say `good` where there is a comma."""
    scores = [[0.1, 0.9] if "," in text else [0.9, 0.1] for text in texts]
    return evaluated(scores, ASKED[: len(texts)], ["bad", "good"])


def test_flips_and_drop_are_of_the_texts_that_change() -> None:
    asked: list[list[int]] = []

    def evaluate(texts: Sequence[str], rows: np.ndarray) -> EvaluatedRows:
        asked.append(rows.tolist())
        scored = by_punctuation(texts)
        return evaluated(scored.scores, ASKED[rows], ["bad", "good"])

    told: list[str] = []
    found = robustness_of(
        by_punctuation(TEXTS),
        TEXTS,
        evaluate,
        rows=np.arange(5),
        seeds=[1, 2],
        resamples=50,
        tell=told.append,
    )

    assert list(found) == told == list(PERTURBATIONS)
    effect = found["no_punctuation"]
    assert (effect.texts, effect.tried) == (3, 5)
    assert effect.flip_rate == pytest.approx(2 / 3)
    assert effect.drop == pytest.approx(2 / 3)
    assert list(effect.flip_rate_by_seed) == pytest.approx([2 / 3] * 2)
    assert effect.flip_rate_by_label == {"bad": 0.0, "good": 1.0}
    interval = effect.flip_rate_interval
    assert interval is not None
    assert interval.low < 2 / 3 < interval.high
    assert [0, 2, 3] in asked


def test_rows_that_had_no_score_and_texts_that_stay_are_not_tried() -> None:
    before = evaluated([[np.nan, np.nan], [0.9, 0.1]], [1, 0], ["bad", "good"])

    found = robustness_of(
        before,
        ["A", "店"],
        lambda *_: pytest.fail("nothing to score"),
        rows=np.arange(1),
        seeds=[0],
    )

    assert {(each.texts, each.tried, each.flip_rate) for each in found.values()} == {(0, 0, None)}


def test_a_regression_has_no_flips_but_a_drop() -> None:
    def evaluate(texts: Sequence[str], _rows: np.ndarray) -> EvaluatedRows:
        return evaluated([[3.0]] * len(texts), np.zeros(len(texts)), ["value"], REGRESSION)

    before = evaluated([[1.0]] * 5, np.zeros(5), ["value"], REGRESSION)

    effect = robustness_of(before, TEXTS, evaluate, rows=np.arange(5), seeds=[0])["truncation"]

    assert effect.flip_rate is None
    assert effect.drop == pytest.approx(2)
