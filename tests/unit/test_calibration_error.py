"""A model that is as right as it is sure is found to be, and one that is too sure is cooled."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from support.evaluated import evaluated, random_rows, several_labels
from worker.lifecycle.calibration_error import (
    calibration_of,
    expected_calibration_error,
    reliability,
)


def too_sure(by: float, rows: int = 4_000, labels: int = 3):
    """Return calibrated rows with their logits multiplied."""
    sound = random_rows(rows, labels, seed=3)
    logits = by * np.log(sound.scores)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return evaluated(scores, sound.targets, sound.labels)


def test_bins_have_equal_mass_and_the_error_is_their_mean_distance() -> None:
    chance = np.random.default_rng(0)
    confidence = chance.random(600)
    right = (chance.random(600) < confidence**2).astype(float)
    order = np.argsort(confidence)
    parts = np.split(order, 15)  # 40 rows each
    expected = np.mean([abs(confidence[p].mean() - right[p].mean()) for p in parts])

    bins = reliability(confidence, right)

    assert [each.rows for each in bins] == [40] * 15
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_few_rows_have_few_bins() -> None:
    assert len(reliability(np.linspace(0, 1, 45), np.ones(45))) == 2
    assert len(reliability(np.ones(3), np.ones(3))) == 1


def test_a_calibrated_model_has_an_error_that_chance_explains() -> None:
    found = calibration_of(random_rows(4_000, seed=5), seed=0)

    assert found is not None
    assert found.ece < found.ece_by_chance < 0.04
    assert found.temperature == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("by", [0.5, 3.0])
def test_the_temperature_undoes_what_was_multiplied(by: float) -> None:
    found = calibration_of(too_sure(by), seed=0)

    assert found is not None
    assert found.temperature == pytest.approx(by, rel=0.1)
    assert found.ece > 2 * found.ece_by_chance
    assert found.after.ece < found.before.ece / 2
    assert found.after.log_loss < found.before.log_loss
    assert found.fitted_rows == 2_000


def test_brier_score_and_log_loss_are_those_of_scikit_learn() -> None:
    for labels in (2, 3):
        rows = random_rows(200, labels, seed=6, unscored=3)
        asked, scores = rows.targets[3:], rows.scores[3:]
        found = calibration_of(rows, seed=0)
        assert found is not None
        assert found.log_loss == pytest.approx(log_loss(asked, scores))
        given = scores[:, 1] if labels == 2 else scores
        assert found.brier == pytest.approx(brier_score_loss(asked, given))


def test_several_labels_are_judged_one_by_one() -> None:
    found = calibration_of(several_labels(2_000), seed=0)

    assert found is not None
    assert found.ece < 1.5 * found.ece_by_chance < 0.04
    assert found.temperature == pytest.approx(1, abs=0.1)
    assert sum(each.rows for each in found.reliability) == 6_000


def test_scores_of_exactly_0_and_1_have_a_finite_loss() -> None:
    rows = evaluated([[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5, [0] * 5 + [1] * 4 + [0])

    found = calibration_of(rows, seed=0)

    assert found is not None
    assert np.isfinite(found.log_loss)
    assert np.isfinite(found.after.log_loss)
