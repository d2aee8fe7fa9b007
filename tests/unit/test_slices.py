"""Slices cut every row once, and are not judged where they are small."""

import numpy as np
import pytest

from support.evaluated import MULTI, REGRESSION, evaluated, random_rows
from worker.lifecycle.slices import slices_of


def test_lengths_and_labels_cut_every_row_once() -> None:
    rows = random_rows(400)

    found = slices_of(rows, ["word"] * 400, seed=0, resamples=50)

    for by in ("length", "script", "label"):
        assert sum(each.rows for each in found[by].values()) == 400
        means = [each.value * each.rows for each in found[by].values()]
        assert sum(means) / 400 == pytest.approx(rows.merits.mean())
    assert list(found["script"]) == ["Latin"]
    assert len(found["length"]) == 4


def test_a_slice_with_few_rows_is_marked_and_a_large_bad_one_is_told() -> None:
    targets = np.array([0] * 300 + [1] * 150 + [2] * 20)
    scores = np.tile([0.8, 0.1, 0.1], (470, 1))

    found = slices_of(evaluated(scores, targets), ["很好"] * 470, seed=0)["label"]

    assert list(found) == ["bad", "good", "mixed"]
    assert (found["bad"].value, found["bad"].worse, found["bad"].too_small) == (1, False, False)
    assert (found["good"].value, found["good"].worse, found["good"].too_small) == (0, True, False)
    assert (found["mixed"].worse, found["mixed"].too_small) == (False, True)


def test_equal_lengths_stay_together() -> None:
    rows = random_rows(100)
    rows.tokens[:] = 7

    found = slices_of(rows, ["word"] * 100, seed=0)["length"]

    assert [(name, each.rows) for name, each in found.items()] == [("7-7 tokens", 100)]


def test_rows_of_several_labels_are_in_a_slice_for_each() -> None:
    rows = evaluated([[0.9, 0.9]] * 3, [[1, 1], [1, 0], [0, 0]], "ab", MULTI)

    found = slices_of(rows, ["x"] * 3, seed=0, resamples=50)["label"]

    assert {name: (each.rows, each.value) for name, each in found.items()} == {
        "a": (2, 0.75),
        "b": (1, 1.0),
    }


def test_a_regression_is_cut_by_its_values_and_a_large_error_is_worse() -> None:
    asked = np.arange(400, dtype=float)
    said = asked + np.where(asked < 100, 9.0, 1.0)
    rows = evaluated(said[:, None], asked, ["value"], REGRESSION)

    found = slices_of(rows, ["x"] * 400, seed=0, resamples=50)["label"]

    first = found["0 to 99"]
    assert (first.metric, first.value, first.worse) == ("mae", 9.0, True)
    assert first.interval is not None
    assert first.interval.low == first.interval.high == 9.0
    assert not found["100 to 199"].worse
