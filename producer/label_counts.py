"""Counting the labels of a result with polars, one part after the other in bounded memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from schemas import layout
from schemas.job import Manifest, Record
from schemas.parquet import decoding, open_parquet
from schemas.storage import Storage
from schemas.survey import survey

CONCURRENT_READS = 8
# Parts whose counts are added up at a time.
PARTS_AT_ONCE = 256


class LabelCount(Record):
    """How often a label, or an error, occurs; `share` is of all result rows."""

    label: str | None
    error: str | None
    rows: int
    share: float
    mean_score: float | None


def count_labels(storage: Storage, manifest: Manifest) -> list[LabelCount]:
    """Return the labels by falling count, then the errors.

    Raises:
        InputCorrupt: A result object cannot be read.
    """
    total = pl.DataFrame(
        schema={"label": pl.String, "error": pl.String, "rows": pl.UInt64, "score_sum": pl.Float64}
    )
    for part in _parts(storage, manifest):
        total = _added(total, part)
    rows = int(total["rows"].sum())
    ordered = total.sort(["error", "rows"], descending=[False, True], nulls_last=False)
    return [
        LabelCount(
            label=row["label"],
            error=row["error"],
            rows=row["rows"],
            share=row["rows"] / rows,
            mean_score=None if row["label"] is None else row["score_sum"] / row["rows"],
        )
        for row in ordered.iter_rows(named=True)
    ]


def _parts(storage: Storage, manifest: Manifest) -> Iterator[pl.DataFrame]:
    uris = [
        layout.result(manifest.spec.output, chunk)
        for chunk in sorted(survey(storage, manifest).results)
    ]
    with ThreadPoolExecutor(CONCURRENT_READS, thread_name_prefix="report") as pool:
        for start in range(0, len(uris), PARTS_AT_ONCE):
            yield from pool.map(
                lambda uri: _count(storage, uri), uris[start : start + PARTS_AT_ONCE]
            )


def _count(storage: Storage, uri: str) -> pl.DataFrame:
    with open_parquet(storage, uri) as file, decoding(uri):
        table = file.read(columns=["label", "score", "error"])
    frame = pl.DataFrame(table)
    return frame.group_by("label", "error").agg(
        pl.len().cast(pl.UInt64).alias("rows"),
        pl.col("score").cast(pl.Float64).sum().alias("score_sum"),
    )


def _added(total: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    together = pl.concat([total, part.select(total.columns)])
    return together.group_by("label", "error").agg(pl.col("rows", "score_sum").sum())
