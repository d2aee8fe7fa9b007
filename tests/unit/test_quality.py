"""Metrics are scikit-learn's, rows without a score are wrong, and intervals hold what they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from support.evaluated import MULTI, REGRESSION, evaluated, random_rows, several_labels
from worker.lifecycle.bootstrap import bootstrap, bootstrap_mean, wilson
from worker.lifecycle.curves import curves_of
from worker.lifecycle.quality import quality_of
from worker.lifecycle.quality_tables import areas, binary_tables, confusion_table, table_metrics
from worker.lifecycle.stability import stability_of

NAMES = ("a", "b", "c")
answers = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=40)
sets = st.lists(st.tuples(*[st.tuples(st.booleans(), st.booleans())] * 3), min_size=1, max_size=30)


@settings(deadline=None, max_examples=20)
@given(rows=answers)
def test_f1_from_a_table_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    asked, said = (np.array(column) for column in zip(*rows, strict=True))
    there = sorted({*asked, *said} - {-1})

    found = table_metrics(confusion_table(asked, said, 3), NAMES)

    def expected(average: str, labels: list[int]) -> float:
        return metrics.f1_score(asked, said, labels=labels, average=average, zero_division=0)

    assert found["macro_f1"] == pytest.approx(expected("macro", there))
    assert found["weighted_f1"] == pytest.approx(expected("weighted", there))
    recalls = metrics.recall_score(asked, said, labels=sorted({*asked}), average=None)
    assert found["balanced_accuracy"] == pytest.approx(recalls.mean())
    for i in there:
        assert found[f"labels.{NAMES[i]}.f1"] == pytest.approx(expected("macro", [i]))


@settings(deadline=None, max_examples=20)
@given(rows=sets)
def test_f1_of_several_labels_is_that_of_scikit_learn(rows: list[list[tuple[bool, bool]]]) -> None:
    asked, said = np.array(rows)[:, :, 0], np.array(rows)[:, :, 1]

    found = binary_tables(asked, said, NAMES)

    micro = metrics.f1_score(asked, said, average="micro", zero_division=0)
    assert found["micro_f1"] == pytest.approx(micro)
    each = metrics.f1_score(asked, said, average=None, zero_division=0)
    assert [found[f"labels.{name}.f1"] for name in NAMES] == pytest.approx(list(each))


@settings(deadline=None, max_examples=20)
@given(
    rows=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 4), st.integers(0, 4)),
        min_size=1,
        max_size=30,
    )
)
def test_areas_are_those_of_scikit_learn_also_where_scores_are_equal(
    rows: list[tuple[bool, bool, int, int]],
) -> None:
    asked, scores = np.array(rows)[:, :2] > 0, np.array(rows)[:, 2:] / 4

    for truth, score, roc, precision in zip(asked.T, scores.T, *areas(asked, scores), strict=True):
        if truth.all() or not truth.any():
            assert np.isnan(roc)
            assert np.isnan(precision)
        else:
            assert roc == pytest.approx(metrics.roc_auc_score(truth, score))
            assert precision == pytest.approx(metrics.average_precision_score(truth, score))


def test_a_single_label_has_its_metrics_within_their_intervals() -> None:
    rows = random_rows(seed=1)
    best = rows.scores.argmax(axis=1)

    found = quality_of(rows, seed=0, resamples=60)

    assert found.metrics["accuracy"] == metrics.accuracy_score(rows.targets, best)
    assert found.metrics["macro_f1"] == metrics.f1_score(rows.targets, best, average="macro")
    assert found.metrics["mcc"] == metrics.matthews_corrcoef(rows.targets, best)
    area = metrics.roc_auc_score(rows.targets, rows.scores, multi_class="ovr")
    assert found.metrics["roc_auc"] == pytest.approx(area)
    table = np.array(found.confusion)
    assert (table[:, :-1] == metrics.confusion_matrix(rows.targets, best)).all()
    assert not table[:, -1].any()
    assert [each.support for each in found.labels.values()] == table.sum(axis=1).tolist()
    for name, interval in found.intervals.items():
        label, _, metric = name.removeprefix("labels.").rpartition(".")
        value = getattr(found.labels[label], metric) if label else found.metrics[metric]
        assert value is not None
        assert interval.low <= value <= interval.high, name
        assert interval.high - interval.low > 0, name
    assert found.intervals["accuracy"].method == "wilson"
    assert found.intervals["macro_f1"].method == "bootstrap"


def test_rows_without_a_score_are_wrong_and_have_no_part_in_areas() -> None:
    rows = random_rows(100, seed=2, unscored=20)

    found = quality_of(rows, seed=0, resamples=30)

    right = (rows.scores[20:].argmax(axis=1) == rows.targets[20:]).sum()
    assert found.metrics["accuracy"] == pytest.approx(right / 100)
    assert sum(row[-1] for row in found.confusion or ()) == 20
    area = metrics.roc_auc_score(rows.targets[20:], rows.scores[20:], multi_class="ovr")
    assert found.metrics["roc_auc"] == pytest.approx(area)


def test_a_label_that_is_not_there_has_no_area_and_no_part_in_a_macro_average() -> None:
    rows = evaluated([[0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0]], [0, 1, 1])

    found = quality_of(rows, seed=0, resamples=30)

    assert found.labels["mixed"].roc_auc is None
    assert found.labels["mixed"].support == 0
    two = metrics.f1_score([0, 1, 1], [0, 1, 0], average="macro")
    assert found.metrics["macro_f1"] == pytest.approx(two)
    assert set(curves_of(rows)) == {"bad", "good"}


def test_several_labels_have_the_metrics_of_sets() -> None:
    rows = several_labels()
    asked, said = rows.targets > 0, rows.scores >= 0.5

    found = quality_of(rows, seed=0, resamples=30)

    assert found.metrics["subset_accuracy"] == metrics.accuracy_score(asked, said)
    assert found.metrics["micro_f1"] == metrics.f1_score(asked, said, average="micro")
    assert found.metrics["hamming_loss"] == metrics.hamming_loss(asked, said)
    jaccard = metrics.jaccard_score(asked, said, average="samples", zero_division=1)
    assert found.metrics["jaccard"] == pytest.approx(jaccard)
    assert found.confusion is None
    for name in ("subset_accuracy", "jaccard", "micro_f1", "macro_f1", "roc_auc"):
        value, interval = found.metrics[name], found.intervals[name]
        assert value is not None
        assert interval.low < value < interval.high


def test_of_several_labels_a_row_without_a_score_has_none_and_is_wrong() -> None:
    rows = evaluated([[np.nan, np.nan], [0.9, 0.1]], [[0, 0], [1, 0]], "ab", MULTI)

    assert quality_of(rows, seed=0, resamples=30).metrics["subset_accuracy"] == 0.5


def test_a_regression_has_the_metrics_of_numbers() -> None:
    chance = np.random.default_rng(0)
    asked = chance.normal(size=200)
    said = asked + chance.normal(size=200) / 2
    said[:5] = np.nan
    rows = evaluated(said[:, None], asked, ["value"], REGRESSION)

    found = quality_of(rows, seed=0, resamples=30)

    a, s = asked[5:], said[5:]
    assert found.metrics["mae"] == pytest.approx(np.abs(a - s).mean())
    assert found.metrics["rmse"] == pytest.approx(np.sqrt(((a - s) ** 2).mean()))
    r2 = 1 - ((a - s) ** 2).sum() / ((a - a.mean()) ** 2).sum()
    assert found.metrics["r2"] == pytest.approx(r2)
    ranks = [np.argsort(np.argsort(each)) for each in (a, s)]
    assert found.metrics["spearman"] == pytest.approx(np.corrcoef(np.array(ranks))[0, 1])  # type: ignore[index]
    assert found.intervals["r2"].low < r2 < found.intervals["r2"].high


def test_the_same_seed_draws_the_same_interval() -> None:
    values = np.random.default_rng(0).random(50)

    one, same, other = (bootstrap_mean(values, seed=seed) for seed in (1, 1, 2))

    assert one == same != other


def test_a_bootstrap_has_the_width_of_the_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    expected = 2 * 1.96 * values.std() / math.sqrt(400)

    found = bootstrap_mean(values, seed=0)

    assert found is not None
    assert found.high - found.low == pytest.approx(expected, rel=0.1)


def test_a_figure_that_a_draw_does_not_define_is_left_out_of_it() -> None:
    drawn = bootstrap(
        lambda rows: {"some": None if rows[0] else 1.0, "none": None}, 3, seed=0, resamples=90
    )

    assert set(drawn) == {"some"}
    assert 10 < drawn["some"].resamples < 60


def test_wilson_is_its_formula_and_has_width_where_all_are_right() -> None:
    z, n = 1.959964, 50

    found = wilson(50, n)

    assert found is not None
    assert found.low == pytest.approx(n / (n + z * z), rel=1e-4)
    assert found.high == 1
    assert wilson(0, 0) is None


def test_stability_is_the_spread_over_models() -> None:
    rows = [random_rows(50, seed=seed) for seed in (1, 2)]

    found = stability_of(["a", "b"], [{"accuracy": 0.8, "x": None}, {"accuracy": 0.9}], rows)

    spread = found.metrics["accuracy"]
    assert spread.mean == pytest.approx(0.85)
    assert (spread.smallest, spread.largest) == (0.8, 0.9)
    assert spread.deviation == pytest.approx(0.1 / math.sqrt(2))
    assert set(found.metrics) == {"accuracy"}
    same = (rows[0].scores.argmax(axis=1) == rows[1].scores.argmax(axis=1)).mean()
    assert found.agreement == pytest.approx(same)
