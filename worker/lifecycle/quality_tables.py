"""Metrics in the fewest operations, for bootstraps, which work them out a thousand times.

The same figures as scikit-learn's, which a test holds them to.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Counts = NDArray[np.int64]


def confusion_table(asked: Counts, said: Counts, labels: int) -> Counts:
    """Return rows asked for label i and given label j [labels, labels + 1]; -1 goes last."""
    cells = asked * (labels + 1) + np.where(said < 0, labels, said)
    counts = np.bincount(cells, minlength=labels * (labels + 1))
    return counts.reshape(labels, labels + 1).astype(np.int64)


def table_metrics(table: Counts, labels: Sequence[str]) -> dict[str, float | None]:
    """Return what the rows of a confusion table [labels, labels + 1] come to."""
    hits, asked = np.diagonal(table), table.sum(axis=1)
    said = table[:, :-1].sum(axis=0)
    there = asked > 0
    recall = hits[there] / asked[there]
    return {"balanced_accuracy": float(recall.mean())} | _f1(hits, asked, said, labels)


def binary_tables(
    asked: NDArray[np.bool_], said: NDArray[np.bool_], labels: Sequence[str]
) -> dict[str, float | None]:
    """Return what rows with several labels come to; both are [rows, labels]."""
    hits = (asked & said).sum(axis=0)
    wanted, given = asked.sum(axis=0), said.sum(axis=0)
    micro = _ratio(2 * hits.sum(), wanted.sum() + given.sum())
    return {"micro_f1": float(micro)} | _f1(hits, wanted, given, labels)


def areas(
    asked: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas under ROC and precision-recall curve of each label [labels].

    The first is the Mann-Whitney statistic, the second the average precision over thresholds; NaN
    of a label that all rows have, or none. Both arguments are [rows, labels].
    """
    rows, labels = asked.shape
    positive = asked.sum(axis=0)
    pairs = (positive * (rows - positive)).astype(float)
    pairs[pairs == 0] = np.nan
    ranks = (rankdata(scores, axis=0) * asked).sum(axis=0)
    roc = (ranks - positive * (positive + 1) / 2) / pairs
    precision = np.full(labels, np.nan)
    for label in np.flatnonzero(~np.isnan(pairs)):
        falling = np.argsort(-scores[:, label], kind="stable")
        steps = np.diff(scores[falling, label], append=-np.inf) != 0  # equal scores are one
        taken = np.flatnonzero(steps) + 1
        hits = asked[falling, label].cumsum()[steps]
        precision[label] = (np.diff(hits, prepend=0) * hits / taken).sum() / positive[label]
    return roc, precision


def _f1(hits: Counts, asked: Counts, said: Counts, labels: Sequence[str]) -> dict[str, Any]:
    f1 = _ratio(2 * hits, asked + said)
    present = asked + said > 0
    weighted = float(np.average(f1, weights=asked)) if asked.sum() else None
    return {
        "macro_f1": float(f1[present].mean()) if present.any() else None,
        "weighted_f1": weighted,
        **{f"labels.{name}.f1": float(value) for name, value in zip(labels, f1, strict=True)},
    }


def _ratio(part: Any, whole: Any) -> Any:
    """Return 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole > 0)
