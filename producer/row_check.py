"""Checks which rows a chunk's result has: each of its chunk once, in order, and no others."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from producer.findings import Finding, FindingKind, of_result
from schemas.chunks import Chunk

# Ranges of rows that a message names before it only counts.
NAMED_RANGES = 5


def row_ranges(rows: Sequence[int] | NDArray[np.int64]) -> str:
    """Return sorted row numbers as text: `4-9, 12 and 30 more ranges`."""
    numbers = np.asarray(rows, dtype=np.int64)
    pieces = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    named = [f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in pieces[:NAMED_RANGES]]
    more = len(pieces) - len(named)
    return ", ".join(named) + (f" and {more} more ranges" if more else "")


def rows_missing(chunk: Chunk, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a chunk that its result lacks."""
    return np.setdiff1d(np.arange(chunk.row_start, chunk.row_start + chunk.rows), rows)


def row_findings(chunk: Chunk, rows: NDArray[np.int64]) -> Iterator[Finding]:
    """Yield what is wrong with the row numbers of a result, as they stand in it."""
    expected = np.arange(chunk.row_start, chunk.row_start + chunk.rows)
    if np.array_equal(rows, expected):
        return
    counts = pl.Series("row", rows).value_counts().sort("row")
    wanted = counts.filter(pl.col("row").is_between(expected[0], expected[-1]))
    twice = wanted.filter(pl.col("count") > 1)["row"].to_numpy()
    foreign = counts.join(wanted, on="row", how="anti").sort("row")["row"].to_numpy()
    for kind, what, numbers in (
        (FindingKind.ROWS_MISSING, "lacks", rows_missing(chunk, rows)),
        (FindingKind.ROWS_TWICE, "has more than once", twice),
        (FindingKind.ROWS_FOREIGN, "has of other chunks", foreign),
    ):
        if len(numbers):
            text = f"{what} {len(numbers)} rows: {row_ranges(numbers)}"
            yield of_result(kind, chunk, text, len(numbers))
    if np.any(np.diff(rows) < 0):
        text = "has its rows in another order than the corpus"
        yield of_result(FindingKind.ROWS_DISORDERED, chunk, text, len(rows))
