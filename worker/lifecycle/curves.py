"""Curves of a classifier, thinned to what a picture shows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from worker.lifecycle.evaluated_rows import EvaluatedRows

MOST_POINTS = 100
MOST_LABELS = 8

Curve = list[tuple[float, float]]


def curves_of(rows: EvaluatedRows) -> dict[str, dict[str, Curve]]:
    """Return ROC and precision-recall curve of each label, the most frequent ones of many.

    Points of `roc` are false and true positive rate, those of `pr` recall and precision. A label
    that all scored rows have, or none, has no curve.
    """
    if rows.problem == "regression":
        return {}
    scored = rows.scored
    several = rows.problem == "multi_label_classification"
    asked = rows.targets > 0 if several else np.eye(len(rows.labels))[rows.targets] > 0
    asked, scores = asked[scored], rows.scores[scored]
    found = {}
    for label in np.argsort(-asked.sum(axis=0), kind="stable")[:MOST_LABELS]:
        if asked[:, label].all() or not asked[:, label].any():
            continue
        false_rate, true_rate, _ = roc_curve(asked[:, label], scores[:, label])
        precision, recall, _ = precision_recall_curve(asked[:, label], scores[:, label])
        found[rows.labels[label]] = {
            "roc": _thinned(false_rate, true_rate),
            "pr": _thinned(recall[::-1], precision[::-1]),
        }
    return found


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> Curve:
    places = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int))
    return [(round(float(x[i]), 4), round(float(y[i]), 4)) for i in places]
