"""Where a model is worse than elsewhere: by length, script and label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from worker.lifecycle.bootstrap import RESAMPLES, Interval, bootstrap_mean, wilson
from worker.lifecycle.data_warnings import WIDE_LABEL, half_width
from worker.lifecycle.evaluated_rows import FIRST_METRIC, EvaluatedRows
from worker.lifecycle.scripts import scripts_of

QUARTERS = 4
MOST_LABELS = 50  # that have a slice each, the most frequent ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some of the rows.

    Attributes:
        rows: How many.
        metric: Accuracy, Jaccard index or mean absolute error.
        value: That of these rows.
        interval: Wilson's of an accuracy, else a bootstrap's.
        too_small: A share of so few rows is known to worse than ten points: judge by nothing here.
        worse: Not too small, and the whole data's value is better than the interval.
    """

    rows: int
    metric: str
    value: float
    interval: Interval | None
    too_small: bool
    worse: bool


Slices = dict[str, dict[str, Slice]]


def slices_of(
    rows: EvaluatedRows, texts: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> Slices:
    """Return the slices by what they are cut by and their name."""
    cut = {"length": _lengths(rows), "script": _scripts(texts), "label": _labels(rows)}
    return {
        by: {name: _slice(rows, part, seed, resamples) for name, part in parts if len(part)}
        for by, parts in cut.items()
    }


def _lengths(rows: EvaluatedRows) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield quarters of the scored rows by their tokens; equal lengths stay together."""
    scored = np.flatnonzero(rows.scored)
    lengths = rows.tokens[scored]
    cuts = np.quantile(lengths, np.arange(1, QUARTERS) / QUARTERS, method="inverted_cdf")
    quarter = np.searchsorted(np.unique(cuts), lengths)
    for each in np.unique(quarter):
        part = lengths[quarter == each]
        yield f"{part.min()}-{part.max()} tokens", scored[quarter == each]


def _scripts(texts: Sequence[str]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    scripts = scripts_of(pl.Series(texts, dtype=pl.String))
    for name in scripts.value_counts(sort=True)["script"]:
        yield name, (scripts == name).arg_true().to_numpy().astype(np.int64)


def _labels(rows: EvaluatedRows) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the rows of each label, or the quarters of the values of a regression."""
    if rows.problem == "regression":
        order = np.argsort(rows.targets, kind="stable")
        for part in np.array_split(order, min(QUARTERS, len(order))):
            values = rows.targets[part]
            yield f"{values.min():g} to {values.max():g}", part
        return
    several = rows.problem == "multi_label_classification"
    has = rows.targets > 0 if several else np.eye(len(rows.labels))[rows.targets] > 0
    for i in np.argsort(-has.sum(axis=0), kind="stable")[:MOST_LABELS]:
        yield rows.labels[i], np.flatnonzero(has[:, i])


def _slice(rows: EvaluatedRows, part: NDArray[np.int64], seed: int, resamples: int) -> Slice:
    merits = rows.merits[part]
    merits = merits[~np.isnan(merits)]
    whole = float(np.nanmean(rows.merits))
    shares = rows.problem == "single_label_classification"
    interval = (
        wilson(merits.sum(), len(merits))
        if shares
        else bootstrap_mean(merits, seed=seed, resamples=resamples)
    )
    too_small = half_width(len(part)) > WIDE_LABEL
    worse = interval is not None and not too_small and interval.high < whole
    value = float(merits.mean()) if len(merits) else float("nan")
    if rows.problem == "regression":  # merits are minus the error
        value = -value
        interval = interval and _negative(interval)
    return Slice(
        rows=len(part),
        metric=FIRST_METRIC[rows.problem],
        value=value,
        interval=interval,
        too_small=too_small,
        worse=worse,
    )


def _negative(interval: Interval) -> Interval:
    return Interval(
        low=-interval.high,
        high=-interval.low,
        method=interval.method,
        resamples=interval.resamples,
    )
