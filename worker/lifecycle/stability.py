"""How far a figure depends on the seed of a training: the same recipe trained several times.

See Dodge et al., Fine-Tuning Pretrained Language Models: Weight Initializations, Data Orders, and
Early Stopping (2020): two seeds can differ by more than two methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from worker.lifecycle.evaluated_rows import EvaluatedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One metric over the models; `deviation` is that of the sample (n - 1)."""

    values: tuple[float, ...]
    mean: float
    deviation: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """What models of one recipe have in common.

    Attributes:
        models: Their references, that of the model itself first.
        metrics: The spread of each metric.
        agreement: Share of rows that two of them label alike, the mean over pairs; None of a
            regression.
    """

    models: tuple[str, ...]
    metrics: dict[str, Spread]
    agreement: float | None


def stability_of(
    models: Sequence[str],
    metrics: Sequence[dict[str, float | None]],
    rows: Sequence[EvaluatedRows],
) -> Stability:
    """Return the spread over models that were evaluated on the same rows.

    Args:
        models: References of the models, two or more.
        metrics: Those of each.
        rows: What each says, with the same labels in the same order.
    """
    spreads = {}
    for name in metrics[0]:
        values = [v for each in metrics if (v := each.get(name)) is not None]
        if len(values) == len(models):
            spreads[name] = _spread(values)
    return Stability(models=tuple(models), metrics=spreads, agreement=_agreement(rows))


def agreement_of(one: EvaluatedRows, other: EvaluatedRows) -> float:
    """Return the share of rows that two models label alike, the labels of one in one order."""
    alike = one.predicted == other.predicted
    return float((alike.all(axis=1) if alike.ndim > 1 else alike).mean())


def _agreement(rows: Sequence[EvaluatedRows]) -> float | None:
    if rows[0].problem == "regression":
        return None
    return float(np.mean([agreement_of(one, other) for one, other in combinations(rows, 2)]))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        values=tuple(values),
        mean=float(np.mean(values)),
        deviation=float(np.std(values, ddof=1)),
        smallest=min(values),
        largest=max(values),
    )
