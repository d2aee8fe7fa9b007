"""Training, validation and test rows: every label has its share, no text is on two sides.

Rows with the same text (see `same_text`) are one unit and go to one side. Units are put in an
order of their own, by the SHA-256 of their text, before they are drawn: the same rows and the same
seed give the same split on every machine, in whatever order the rows come. The drawing is
scikit-learn's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import SchemaMismatch, UsageError
from schemas.labelled import LABEL, TEXT, LabelledTexts, place_of
from worker.lifecycle.same_text import normal_form

Side = Literal["train", "validation", "test", "left_out"]

# Groups are dealt into so many folds at most, of which a share is some: 1/20 is the finest.
MOST_FOLDS = 20
VALUE_BINS = 10  # of a regression
SHARE = 0.1  # of validation and test data unless said otherwise
_DATE = r"^\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What to split, and how.

    Attributes:
        validation: Share of the rows, 0 for none.
        test: Share of the rows, 0 for none.
        seed: Another one splits otherwise; of no matter to a split by time.
        group_column: Rows with the same value stay on one side.
        time_column: The latest rows are the test data, those before them the validation data.
    """

    validation: float = SHARE
    test: float = SHARE
    seed: int = 0
    group_column: str | None = None
    time_column: str | None = None


def split(rows: LabelledTexts, shares: Shares) -> list[Side]:
    """Return the side of each row.

    A label with so few texts that it cannot be on every side is in the training data alone, but
    for a split by groups or time, which takes labels as they come. In a split by time a row whose
    text is already on an earlier side is left out; nothing is left out otherwise.

    Raises:
        UsageError: The shares make no sense, or a side would be empty.
        SchemaMismatch: A time is missing, or neither a number nor a date of ISO 8601.
    """
    if shares.validation + shares.test >= 1 or not shares.validation + shares.test:
        raise UsageError("--validation and --test together must be more than 0 and less than 1")
    if shares.group_column and shares.time_column:
        raise UsageError("--group-column and --time-column cannot be used together")
    if shares.time_column:
        sides = _by_time(rows.rows, shares, shares.time_column)
    else:
        units = _units(rows.rows, shares.group_column)
        sides = _drawn(units, _strata(rows), shares)
    for side, share in (("train", 1.0), ("validation", shares.validation), ("test", shares.test)):
        if share and not np.any(sides == side):
            raise UsageError(f"the {side} side would be empty: {len(rows.rows)} rows are too few")
    return list(sides)


def _units(rows: pl.DataFrame, group_column: str | None) -> NDArray[np.int64]:
    """Return the unit [rows] of each row; units are numbered by the hash of their first text."""
    texts = normal_form(rows[TEXT])
    hashes = pl.Series([hashlib.sha256(text.encode()).digest() for text in texts])
    found = hashes.rank("dense").to_numpy().astype(np.int64) - 1
    if group_column is None:
        return found
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Two groups that share a text are one: its rows may not be on two sides.
    groups = rows[group_column].cast(pl.String).fill_null("").rank("dense").to_numpy().astype(int)
    size = int(found.max()) + 1 + int(groups.max())
    edges = coo_array((np.ones(len(found)), (found, found.max() + groups)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    of_rows = component[found]
    first = np.full(size, size, dtype=np.int64)
    np.minimum.at(first, of_rows, found)  # component numbers follow the order of the hashes
    return np.unique(first[of_rows], return_inverse=True)[1].astype(np.int64)


def _strata(rows: LabelledTexts) -> pl.Series:
    """Return what is to have its share on each side: label, set of labels or range of values."""
    labels = rows.rows[LABEL]
    if rows.problem == "regression":
        ranks = labels.rank("average") / len(labels)
        return (ranks * VALUE_BINS).ceil().cast(pl.Int64).cast(pl.String)
    return labels.list.sort().list.join("\0") if rows.problem == "multi-label" else labels


def _drawn(units: NDArray[np.int64], strata: pl.Series, shares: Shares) -> NDArray[np.str_]:
    table = pl.DataFrame({"unit": units, "stratum": strata}).with_row_index("row")
    if shares.group_column:
        return _by_group(table.sort("unit", "stratum"), shares)
    # Of a text with several labels the first in the alphabet counts.
    of_units = table.group_by("unit").agg(pl.col("stratum").min()).sort("unit")
    side_of_unit = _stratified(of_units["stratum"], shares)
    return side_of_unit[units]


def _stratified(strata: pl.Series, shares: Shares) -> NDArray[np.str_]:
    """Return the side of each unit, every stratum with its share to within one unit a draw."""
    from sklearn.model_selection import train_test_split

    sides = np.full(len(strata), "train", dtype="<U10")
    wanted = {"test": shares.test, "validation": shares.validation}
    drawn = {side: share for side, share in wanted.items() if share}
    counts = strata.value_counts(name="count")
    common = counts.filter(pl.col("count") > len(drawn))["stratum"]
    left = strata.is_in(common.to_list()).arg_true().to_numpy()
    for side, share in drawn.items():
        size = round(share * len(strata))
        values = strata.gather(left).to_numpy()
        if size < max(len(common), 1) or len(left) - size < len(common):
            raise UsageError(
                f"{len(strata)} different texts are too few for a {side} share of {share:.0%} "
                f"with {len(common)} labels in it"
            )
        left, taken = train_test_split(
            left, test_size=size, random_state=shares.seed, stratify=values
        )
        sides[taken] = side
        left = np.sort(left)
    return sides


def _by_group(table: pl.DataFrame, shares: Shares) -> NDArray[np.str_]:
    """Return the side of each row, by folds of groups in which labels are spread evenly."""
    sides = np.full(len(table), "train", dtype="<U10")
    left = np.arange(len(table))
    remaining = 1.0
    for side, share in (("test", shares.test), ("validation", shares.validation)):
        if share:
            taken = _folds(table[left], share / remaining, shares.seed)
            sides[table["row"].to_numpy()[left[taken]]] = side
            left = np.delete(left, taken)
            remaining -= share
    return sides


def _folds(table: pl.DataFrame, share: float, seed: int) -> NDArray[np.int64]:
    """Return rows of about `share` of the table, in whole groups."""
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    part = max(Fraction(share).limit_denominator(MOST_FOLDS), Fraction(1, MOST_FOLDS))
    groups = table["unit"].to_numpy()
    if len(np.unique(groups)) < part.denominator:
        raise UsageError(
            f"{len(np.unique(groups))} groups are too few for a share of {share:.0%}: it takes "
            f"{part.denominator}"
        )
    folds = StratifiedGroupKFold(part.denominator, shuffle=True, random_state=seed)
    strata = table["stratum"].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels rarer than folds
        try:
            taken = [test for _, test in folds.split(strata, strata, groups)]
        except ValueError:
            raise UsageError(
                f"every label has fewer than {part.denominator} rows: too few to split"
            ) from None
    return np.sort(np.concatenate(taken[: part.numerator]))


def _by_time(rows: pl.DataFrame, shares: Shares, column: str) -> NDArray[np.str_]:
    """Return the side of each row by its time; equal times are never parted."""
    times = _times(rows, column)
    order = times.sort()
    last = len(order) - 1
    sides = np.full(len(rows), "train", dtype="<U10")
    if shares.validation:
        bound = order[min(round(len(order) * (1 - shares.test - shares.validation)), last)]
        sides[(times >= bound).to_numpy()] = "validation"
    if shares.test:
        bound = order[min(round(len(order) * (1 - shares.test)), last)]
        sides[(times >= bound).to_numpy()] = "test"
    rank = pl.Series([("train", "validation", "test").index(side) for side in sides])
    known = pl.DataFrame({"text": normal_form(rows[TEXT]), "rank": rank})
    earlier = known.select((pl.col("rank") > pl.col("rank").min().over("text")).alias("late"))
    sides[earlier["late"].to_numpy()] = "left_out"
    return sides


def _times(rows: pl.DataFrame, column: str) -> pl.Series:
    """Return what the rows are ordered by: numbers, or dates of ISO 8601 as they are."""
    times = rows[column]
    if times.dtype == pl.String:
        numbers = times.cast(pl.Float64, strict=False)
        if not numbers.null_count():
            return numbers
        times = pl.select(pl.when(times.str.contains(_DATE)).then(times)).to_series()
    missing: Sequence[int] = times.is_null().arg_true().to_list()
    if missing:
        raise SchemaMismatch(
            f"{place_of(rows, missing[0])}: column {column!r} holds neither a number nor a date "
            "such as 2025-06-01"
        )
    return times
