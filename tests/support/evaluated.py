"""Rows that look evaluated, without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.errors import RowError
from schemas.job import ProblemType
from worker.lifecycle.evaluated_rows import EvaluatedRows

SINGLE: ProblemType = "single_label_classification"
MULTI: ProblemType = "multi_label_classification"
REGRESSION: ProblemType = "regression"


def evaluated(
    scores: Any,
    targets: Any,
    labels: Sequence[str] = ("bad", "good", "mixed"),
    problem: ProblemType = SINGLE,
) -> EvaluatedRows:
    """Return rows with these scores [rows, labels]; NaN in a row means that it has none."""
    given = np.asarray(scores, dtype=np.float64)
    lost = np.flatnonzero(np.isnan(given[:, 0]))
    return EvaluatedRows(
        problem=problem,
        labels=tuple(labels)[: given.shape[1]],
        targets=np.asarray(targets),
        scores=given,
        tokens=np.arange(len(given)) % 40 + 3,
        errors={int(row): RowError.TEXT_BLANK for row in lost},
    )


def random_rows(
    rows: int = 300, labels: int = 3, seed: int = 0, *, unscored: int = 0, sharpness: float = 2.0
) -> EvaluatedRows:
    """Return rows of one label each, whose scores are exactly the chances of their labels."""
    chance = np.random.default_rng(seed)
    logits = sharpness * chance.normal(size=(rows, labels))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (scores.cumsum(axis=1) < chance.random((rows, 1))).sum(axis=1).clip(0, labels - 1)
    scores[:unscored] = np.nan
    return evaluated(scores, targets, [f"label {i}" for i in range(labels)])


def several_labels(rows: int = 300, labels: int = 3, seed: int = 0) -> EvaluatedRows:
    """Return rows of any number of labels each, whose scores are the chances of their labels."""
    chance = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-2 * chance.normal(size=(rows, labels))))
    targets = (chance.random((rows, labels)) < scores).astype(np.float32)
    return evaluated(scores, targets, [f"label {i}" for i in range(labels)], MULTI)
