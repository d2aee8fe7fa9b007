"""Counting the labels of a result with polars, one part after the other in bounded memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import not_

import polars as pl
from pydantic import Field

from schemas import layout
from schemas.job import Manifest, Record
from schemas.parquet import decoding, open_parquet
from schemas.storage import Storage
from schemas.survey import survey

CONCURRENT_READS = 8
# Parts whose counts are added up at a time.
PARTS_AT_ONCE = 256
_NOTHING = pl.DataFrame(
    schema={"label": pl.String, "error": pl.String, "rows": pl.UInt64, "score_sum": pl.Float64}
)


class LabelCount(Record):
    """How often a label, or an error, occurs; `share` is of all result rows.

    `model` is the name of the one of several models that says so.
    """

    model: str = Field(default="", exclude_if=not_)
    label: str | None
    error: str | None
    rows: int
    share: float
    mean_score: float | None


def count_labels(storage: Storage, manifest: Manifest) -> list[LabelCount]:
    """Return the labels by falling count, then the errors; of several models one after the other.

    Raises:
        InputCorrupt: A result object cannot be read.
    """
    suffixes = manifest.spec.suffixes
    totals = {suffix: _NOTHING for suffix in suffixes}
    for parts in _parts(storage, manifest):
        for suffix, part in zip(suffixes, parts, strict=True):
            totals[suffix] = _added(totals[suffix], part)
    return [
        count
        for suffix, total in totals.items()
        for count in _counts(suffix.removeprefix("_"), total)
    ]


def _counts(model: str, total: pl.DataFrame) -> list[LabelCount]:
    rows = int(total["rows"].sum())
    ordered = total.sort(["error", "rows"], descending=[False, True], nulls_last=False)
    return [
        LabelCount(
            model=model,
            label=row["label"],
            error=row["error"],
            rows=row["rows"],
            share=row["rows"] / rows,
            mean_score=None if row["label"] is None else row["score_sum"] / row["rows"],
        )
        for row in ordered.iter_rows(named=True)
    ]


def _parts(storage: Storage, manifest: Manifest) -> Iterator[list[pl.DataFrame]]:
    """Yield the counts of each result, one frame a model."""
    suffixes = manifest.spec.suffixes
    uris = [
        layout.result(manifest.spec.output, chunk)
        for chunk in sorted(survey(storage, manifest).results)
    ]
    with ThreadPoolExecutor(CONCURRENT_READS, thread_name_prefix="report") as pool:
        for start in range(0, len(uris), PARTS_AT_ONCE):
            yield from pool.map(
                lambda uri: _count(storage, uri, suffixes), uris[start : start + PARTS_AT_ONCE]
            )


def _count(storage: Storage, uri: str, suffixes: Sequence[str]) -> list[pl.DataFrame]:
    names = [
        f"{name}{suffix}" for suffix in suffixes for name in ("label", "score", "error", "n_tokens")
    ]
    with open_parquet(storage, uri) as file, decoding(uri):
        frame = pl.DataFrame(file.read(columns=names))
    return [
        frame.filter(pl.col(f"n_tokens{suffix}").is_not_null())
        .select(label=f"label{suffix}", score=f"score{suffix}", error=f"error{suffix}")
        .group_by("label", "error")
        .agg(
            pl.len().cast(pl.UInt64).alias("rows"),
            pl.col("score").cast(pl.Float64).sum().alias("score_sum"),
        )
        for suffix in suffixes
    ]


def _added(total: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    together = pl.concat([total, part.select(total.columns)])
    return together.group_by("label", "error").agg(pl.col("rows", "score_sum").sum())
