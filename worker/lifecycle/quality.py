"""How good a model's labels and numbers are: the metrics of each kind of problem, and intervals.

Metrics are scikit-learn's. A row without a score counts as wrong in everything that is made of
labels, and is left out where scores are needed (areas under curves, regression). A label that is
neither asked nor said anywhere has no part in a macro average.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn import metrics

from worker.lifecycle.bootstrap import (
    RESAMPLES,
    Interval,
    Rows,
    bootstrap,
    bootstrap_mean,
    wilson,
)
from worker.lifecycle.evaluated_rows import EvaluatedRows
from worker.lifecycle.quality_tables import areas, binary_tables, confusion_table, table_metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuality:
    """One label against all others; the areas are None where all rows or none have it."""

    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    pr_auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good the labels or numbers are.

    Attributes:
        metrics: By name, such as `accuracy` and `macro_f1`; None where not defined.
        labels: By name; of a regression none.
        confusion: Rows asked for label i and given label j; the last column is of rows without a
            score. Of single-label problems alone.
        intervals: By the name of the metric, `labels.NAME.METRIC` for those of a label.
    """

    metrics: dict[str, float | None]
    labels: dict[str, LabelQuality] = field(default_factory=dict)
    confusion: list[list[int]] | None = None
    intervals: dict[str, Interval]


def quality_of(rows: EvaluatedRows, *, seed: int, resamples: int = RESAMPLES) -> Quality:
    """Return all metrics of the problem that the model solves."""
    if rows.problem == "regression":
        return _regression(rows, seed, resamples)
    if rows.problem == "multi_label_classification":
        return _multi_label(rows, seed, resamples)
    return _single_label(rows, seed, resamples)


def _single_label(rows: EvaluatedRows, seed: int, resamples: int) -> Quality:
    asked, said, count = rows.targets, rows.predicted, len(rows.labels)
    table = confusion_table(asked, said, count)
    cells = asked * (count + 1) + np.where(said < 0, count, said)
    present = np.flatnonzero(table.sum(axis=1) + table[:, :count].sum(axis=0))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        asked, said, labels=range(count), zero_division=0
    )
    one_hot = np.eye(count)[asked] > 0
    under_curves = _label_areas(rows, one_hot)
    found: dict[str, float | None] = {
        "accuracy": float(metrics.accuracy_score(asked, said)),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "macro_precision": float(precision[present].mean()),
        "macro_recall": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "mcc": float(metrics.matthews_corrcoef(asked, said)),
        **_of_labels(under_curves),
    }
    intervals = bootstrap(
        lambda draw: table_metrics(
            np.bincount(cells[draw], minlength=table.size).reshape(table.shape), rows.labels
        ),
        len(rows),
        seed=seed,
        resamples=resamples,
    )
    for i, name in enumerate(rows.labels):
        for metric, of in (("precision", table[:, i].sum()), ("recall", table[i].sum())):
            _set(intervals, f"labels.{name}.{metric}", wilson(table[i, i], int(of)))
    _set(intervals, "accuracy", wilson(np.trace(table), len(rows)))
    intervals |= _area_intervals(rows, one_hot, seed, resamples)
    return Quality(
        metrics=found,
        labels=_labels(rows.labels, precision, recall, f1, support, under_curves),
        confusion=table.tolist(),
        intervals=intervals,
    )


def _multi_label(rows: EvaluatedRows, seed: int, resamples: int) -> Quality:
    asked, said = rows.targets > 0, rows.predicted
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        asked, said, average=None, zero_division=0
    )
    present = np.flatnonzero(asked.sum(axis=0) + said.sum(axis=0))
    exact = (asked == said).all(axis=1) & rows.scored
    under_curves = _label_areas(rows, asked)
    found: dict[str, float | None] = {
        "subset_accuracy": float(exact.mean()),
        "jaccard": float(rows.merits.mean()),
        "hamming_loss": float(metrics.hamming_loss(asked, said)),
        "micro_precision": float(metrics.precision_score(asked, said, average="micro")),
        "micro_recall": float(metrics.recall_score(asked, said, average="micro")),
        "micro_f1": float(metrics.f1_score(asked, said, average="micro", zero_division=0)),
        "macro_f1": float(f1[present].mean()) if len(present) else 0.0,
        "weighted_f1": float(np.average(f1, weights=support)),
        **_of_labels(under_curves),
    }
    intervals = bootstrap(
        lambda draw: binary_tables(asked[draw], said[draw], rows.labels),
        len(rows),
        seed=seed,
        resamples=resamples,
    )
    _set(intervals, "subset_accuracy", wilson(exact.sum(), len(rows)))
    _set(intervals, "jaccard", bootstrap_mean(rows.merits, seed=seed, resamples=resamples))
    intervals |= _area_intervals(rows, asked, seed, resamples)
    labels = _labels(rows.labels, precision, recall, f1, support, under_curves)
    return Quality(metrics=found, labels=labels, intervals=intervals)


def _regression(rows: EvaluatedRows, seed: int, resamples: int) -> Quality:
    asked, said = rows.targets[rows.scored].astype(np.float64), rows.predicted[rows.scored]

    def figures(draw: Rows) -> dict[str, float | None]:
        a, s = asked[draw], said[draw]
        if len(np.unique(a)) < 2:
            return {}
        rank = spearmanr(a, s).statistic if len(np.unique(s)) > 1 else None
        return {
            "mae": float(metrics.mean_absolute_error(a, s)),
            "rmse": float(metrics.root_mean_squared_error(a, s)),
            "r2": float(metrics.r2_score(a, s)),
            "spearman": None if rank is None else float(rank),
        }

    return Quality(
        metrics=figures(np.arange(len(asked))),
        intervals=bootstrap(figures, len(asked), seed=seed, resamples=resamples),
    )


def _label_areas(rows: EvaluatedRows, asked: NDArray[np.bool_]) -> list[dict[str, float | None]]:
    """Return the areas under the curves of each label against the rest, of the scored rows."""
    wanted, scores = asked[rows.scored], rows.scores[rows.scored]
    both = [bool(truth.any() and not truth.all()) for truth in wanted.T]
    return [
        {
            "roc_auc": float(metrics.roc_auc_score(truth, score)) if there else None,
            "pr_auc": float(metrics.average_precision_score(truth, score)) if there else None,
        }
        for truth, score, there in zip(wanted.T, scores.T, both, strict=True)
    ]


def _macro_areas(roc: Any, precision: Any) -> dict[str, float | None]:
    """Return the means over labels [labels]; of two that exclude each other the ROC's are equal."""
    found: dict[str, float | None] = {}
    for name, given in (("roc_auc", roc), ("pr_auc", precision)):
        known = np.array(given, dtype=float)
        known = known[~np.isnan(known)]
        found[name] = float(known.mean()) if len(known) else None
    return found


def _of_labels(found: list[dict[str, float | None]]) -> dict[str, float | None]:
    return _macro_areas([each["roc_auc"] for each in found], [each["pr_auc"] for each in found])


def _area_intervals(
    rows: EvaluatedRows, asked: NDArray[np.bool_], seed: int, resamples: int
) -> dict[str, Interval]:
    wanted, scores = asked[rows.scored], rows.scores[rows.scored]
    return bootstrap(
        lambda draw: _macro_areas(*areas(wanted[draw], scores[draw])),
        len(wanted),
        seed=seed,
        resamples=resamples,
    )


def _labels(
    names: tuple[str, ...], precision: Any, recall: Any, f1: Any, support: Any, areas: Any
) -> dict[str, LabelQuality]:
    columns = zip(names, precision, recall, f1, support, areas, strict=True)
    return {
        name: LabelQuality(precision=float(p), recall=float(r), f1=float(f), support=int(s), **area)
        for name, p, r, f, s, area in columns
    }


def _set(intervals: dict[str, Interval], name: str, interval: Interval | None) -> None:
    if interval is not None:
        intervals[name] = interval
