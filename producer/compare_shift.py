"""How far a row's score moved from one side to the other, as far as both results tell.

A score belongs to a label, so that the scores of two labels cannot be subtracted. The **shift** of
a row is the change in the probability of the label that the first side gave it; of a regression,
the change of its value. It is known where the labels are equal, where the second side kept all
scores, and where labels exclude each other and there are two.
"""

import polars as pl

from producer.compare_side import Side


def with_shift(rows: pl.DataFrame, a: Side, b: Side) -> pl.DataFrame:
    """Add `shift`, null where it is not known, and `moved`, the least by which a score moved.

    Where the label changed and the shift is not known: a label that was given with probability p
    has at most 1 - q of what is left where another one has q, and never more than q.

    Args:
        rows: Rows that both sides have scored, with `label_a`, `score_a`, … and `score_b`.
        a: The first side.
        b: The second side.
    """
    before, after = (pl.col(f"score_{side}").cast(pl.Float64) for side in "ab")
    rows = rows.with_columns(shift=_shift(rows, a, b, before, after))
    exclusive = b.pin.problem_type == a.pin.problem_type == "single_label_classification"
    most_after = pl.min_horizontal(after, 1 - after) if exclusive else after
    most_before = pl.min_horizontal(before, 1 - before) if exclusive else before
    least = pl.max_horizontal(before - most_after, after - most_before, pl.lit(0.0))
    return rows.with_columns(moved=pl.coalesce(pl.col("shift").abs(), least))


def is_regression(a: Side, b: Side) -> bool:
    """Say whether both sides give values instead of labels."""
    return a.pin.problem_type == b.pin.problem_type == "regression"


def _shift(rows: pl.DataFrame, a: Side, b: Side, before: pl.Expr, after: pl.Expr) -> pl.Expr:
    if is_regression(a, b):
        return after - before
    labels = b.pin.labels
    if "scores_b" in rows.columns:
        place = pl.col("label_a").replace_strict(
            list(labels), list(range(len(labels))), default=None, return_dtype=pl.Int64
        )
        return pl.col("scores_b").list.get(place, null_on_oob=True).cast(pl.Float64) - before
    same = pl.when(pl.col("label_a") == pl.col("label_b")).then(after - before)
    binary = (
        b.pin.problem_type == "single_label_classification"
        and len(labels) == 2
        and set(labels) == set(a.pin.labels)
    )
    return same.otherwise(1 - after - before) if binary else same
