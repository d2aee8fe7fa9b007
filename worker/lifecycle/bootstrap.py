"""How sure a figure is: 95 % intervals.

Of a share of rows, such as accuracy, recall or a flip rate: Wilson's (see `data_warnings`), exact
enough also for few rows and for shares near 0 and 1, where a bootstrap has no width. Of everything
else: the percentile bootstrap over rows (Efron 1979), which needs no formula for F1 or AUC.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from worker.lifecycle.data_warnings import CONFIDENCE

RESAMPLES = 1_000

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95 % interval, and where it is from; `resamples` is 0 where none were drawn."""

    low: float
    high: float
    method: Literal["wilson", "bootstrap"]
    resamples: int = 0


def wilson(hits: float, rows: int) -> Interval | None:
    """Return the interval of `hits / rows`; None of no rows. Part of a hit is rounded."""
    if not rows:
        return None
    found = binomtest(round(hits), rows).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(low=float(found.low), high=float(found.high), method="wilson")


def bootstrap(
    statistic: Callable[[Rows], Mapping[str, float | None]],
    rows: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return the percentile interval of each figure that `statistic` gives.

    Args:
        statistic: Figures of rows, given by their places [rows], drawn with replacement. A figure
            that is not defined of a draw (None, NaN) is left out of it.
        rows: How many there are.
        seed: Of the draws.
        resamples: How often they are drawn.
    """
    chance = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in statistic(chance.integers(0, rows, rows)).items():
            if value is not None and np.isfinite(value):
                draws.setdefault(name, []).append(value)
    return {name: _percentiles(np.array(values)) for name, values in draws.items()}


def bootstrap_mean(
    values: NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES
) -> Interval | None:
    """Return the percentile interval of a mean [rows]; of differences it is a paired one."""
    if not len(values):
        return None
    return bootstrap(
        lambda rows: {"mean": float(values[rows].mean())},
        len(values),
        seed=seed,
        resamples=resamples,
    ).get("mean")


def _percentiles(values: NDArray[np.float64]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(low=float(low), high=float(high), method="bootstrap", resamples=len(values))
