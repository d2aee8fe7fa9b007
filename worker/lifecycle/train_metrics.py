"""How good the outputs of a model are, for each problem, and how sure that is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.labelled import Problem

CONFIDENCE = 0.95
RESAMPLES = 500
DIGITS = 4

Outputs = NDArray[Any]


def measure(problem: Problem, logits: Outputs, targets: Outputs) -> dict[str, float]:
    """Return the metrics of a problem.

    Args:
        problem: What a label is.
        logits: [rows, labels]; a row of NaN, of a text that cannot be scored, counts as wrong.
        targets: As `worker.lifecycle.labelled.targets`.
    """
    from sklearn.metrics import accuracy_score, f1_score

    if problem == "regression":
        return _of_values(np.nan_to_num(logits[:, 0]), targets)
    labels = range(logits.shape[1])
    if problem == "single-label":
        found = np.where(np.isnan(logits).any(axis=1), -1, np.nan_to_num(logits).argmax(axis=1))
        f1 = f1_score(targets, found, labels=labels, average="macro", zero_division=0)
        return {"accuracy": float(accuracy_score(targets, found)), "macro_f1": float(f1)}
    applies = (logits > 0).astype(int)
    return {
        "exact_match": float((applies == targets).all(axis=1).mean()),
        "macro_f1": float(f1_score(targets, applies, average="macro", zero_division=0)),
        "micro_f1": float(f1_score(targets, applies, average="micro", zero_division=0)),
    }


def _of_values(found: Outputs, wanted: Outputs) -> dict[str, float]:
    from scipy.stats import spearmanr

    error = found - wanted
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    varied = len(found) > 1 and np.ptp(found) > 0 and spread > 0
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else 0.0,
        "spearman": float(spearmanr(found, wanted).statistic) if varied else 0.0,
    }


def intervals(
    problem: Problem, logits: Outputs, targets: Outputs, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric.

    Of accuracy and exact match Wilson's, a share of rows; of the others the percentiles of a
    bootstrap over rows (Efron and Tibshirani 1993).
    """
    from scipy.stats import binomtest

    random = np.random.default_rng(seed)
    rows, figures = len(targets), _figures(problem, logits, targets)
    drawn = [figures(random.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    found = {}
    for name, value in measure(problem, logits, targets).items():
        if name in ("accuracy", "exact_match"):
            share = binomtest(round(value * rows), rows).proportion_ci(CONFIDENCE, method="wilson")
            low, high = share.low, share.high
        else:
            tail = (1 - CONFIDENCE) / 2
            low, high = np.quantile([metrics[name] for metrics in drawn], [tail, 1 - tail])
        found[name] = (round(float(low), DIGITS), round(float(high), DIGITS))
    return found


def _figures(
    problem: Problem, logits: Outputs, targets: Outputs
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return the function that measures some of the rows, fast enough for hundreds of draws."""
    if problem == "regression":
        return lambda rows: measure(problem, logits[rows], targets[rows])
    if problem == "single-label":
        labels = np.arange(logits.shape[1])
        known = np.where(np.isnan(logits).any(axis=1), -1, np.nan_to_num(logits).argmax(axis=1))
        said, asked = known[:, None] == labels, targets[:, None] == labels
    else:
        said, asked = logits > 0, targets > 0

    def figures(rows: NDArray[np.int64]) -> dict[str, float]:
        given, wanted = said[rows], asked[rows]
        hits, both = (given & wanted).sum(axis=0), given.sum(axis=0) + wanted.sum(axis=0)
        return {
            "macro_f1": float((2 * hits / np.maximum(both, 1)).mean()),
            "micro_f1": float(2 * hits.sum() / max(both.sum(), 1)),
        }

    return figures


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    """Return metrics with as many digits as are worth writing down."""
    return {name: round(value, DIGITS) for name, value in metrics.items()}
