"""Checks the values of one model's columns in a chunk's result."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from producer.findings import Finding, FindingKind, of_result
from schemas.chunks import Chunk
from schemas.job import ModelPin


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelColumns:
    """What a model says of the rows of a result, its columns without their suffix.

    Attributes:
        sample: Of a canary, the rows that it has to score [rows]; None for all.
        counts: Rows by what is right or wrong with them, and sums.
        errors: Rows by error.
    """

    pin: ModelPin
    suffix: str
    sample: NDArray[np.bool_] | None
    counts: dict[str, int]
    errors: Counter[str] = field(default_factory=Counter)


def model_columns(
    frame: pl.DataFrame, pin: ModelPin, suffix: str, sample: NDArray[np.bool_] | None
) -> ModelColumns:
    """Count the columns of a model; rows outside a sample count as those alone."""
    names = ("label", "score", "scores", "n_tokens", "truncated", "error")
    own = {name: f"{name}{suffix}" for name in names if f"{name}{suffix}" in frame.columns}
    rows = frame.select(**own)
    outside = 0
    if sample is not None:
        filled = pl.any_horizontal(pl.all().is_not_null())
        outside = int(rows.filter(~sample).select(filled.sum()).item())
        rows = rows.filter(sample)
    return ModelColumns(
        pin=pin,
        suffix=suffix,
        sample=sample,
        counts={**_counts(rows, pin), "outside": outside},
        errors=errors_of(rows["error"]),
    )


def errors_of(errors: pl.Series) -> Counter[str]:
    """Count rows by error."""
    return Counter(dict(errors.drop_nulls().value_counts().iter_rows()))


def value_findings(chunk: Chunk, found: ModelColumns) -> Iterator[Finding]:
    """Yield what is wrong with the values of a model."""
    of_model = f", by model {found.suffix.removeprefix('_')}" if found.suffix else ""
    for name, text in (
        ("both", "with an error and a label or score"),
        ("neither", "without error and without score"),
        ("unknown_label", "without error whose label is not one of the model"),
        ("bad_score", "with a score that cannot be"),
        ("bad_scores", "whose list of scores is missing, too much or of a wrong length"),
        ("outside", "outside the sample with values"),
    ):
        if found.counts[name]:
            what = f"has {found.counts[name]} rows {text}{of_model}"
            yield of_result(FindingKind.ROW_VALUES, chunk, what, found.counts[name])


def _counts(rows: pl.DataFrame, pin: ModelPin) -> dict[str, int]:
    label, score = pl.col("label"), pl.col("score")
    has_label, has_score = label.is_not_null(), score.is_not_null()
    is_error = pl.col("error").is_not_null()
    regression = pin.problem_type == "regression"
    known = has_label.not_() if regression else label.is_in(pin.labels)
    in_range = pl.lit(True) if regression else score.is_between(0, 1)
    bad_scores = pl.lit(False)
    if "scores" in rows.columns:
        lists = pl.col("scores")
        wrong = (lists.list.len() != len(pin.labels)).fill_null(False)
        bad_scores = wrong | (lists.is_null() != is_error)
    counted = rows.select(
        scored=is_error.not_().sum(),
        both=(is_error & (has_label | has_score)).sum(),
        neither=(is_error.not_() & has_score.not_()).sum(),
        unknown_label=(is_error.not_() & known.fill_null(False).not_()).sum(),
        bad_score=(has_score & (score.is_finite() & in_range).not_()).sum(),
        bad_scores=bad_scores.sum(),
        tokens=pl.col("n_tokens").cast(pl.Int64).sum(),
        truncated=pl.col("truncated").sum(),
    )
    return {name: int(value) for name, value in counted.row(0, named=True).items()}
