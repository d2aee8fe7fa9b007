"""Cuts a corpus into chunks. Pure: from footers to a chunk table."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from producer.footers import Footer
from schemas.chunks import Chunk, ChunkTable

# A chunk of very short texts holds at most this many times --chunk-rows.
MAX_ROWS_FACTOR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job would do."""

    chunks: ChunkTable
    files: int
    rows: int
    text_bytes: int


def make_plan(footers: Sequence[Footer], chunk_rows: int) -> Plan:
    """Cut the rows of all files into chunks; every row is in exactly one.

    A chunk holds rows of one file. Its target is the text of `chunk_rows` average rows, so that
    chunks take about the same time however long their texts are: whole row groups up to the
    target, and equal pieces of a row group that is larger.
    """
    rows = int(sum(f.group_rows.sum() for f in footers))
    text_bytes = int(sum(f.group_text_bytes.sum() for f in footers))
    target = max(1.0, text_bytes / max(1, rows) * chunk_rows)
    chunks = _chunks(footers, target, MAX_ROWS_FACTOR * chunk_rows)
    return Plan(
        chunks=ChunkTable.from_chunks(chunks), files=len(footers), rows=rows, text_bytes=text_bytes
    )


def _chunks(footers: Sequence[Footer], target: float, max_rows: int) -> Iterator[Chunk]:
    index = 0
    for number, footer in enumerate(footers):
        for start, rows, size in _ranges(footer, target, max_rows):
            yield Chunk(index=index, file=number, row_start=start, rows=rows, text_bytes=size)
            index += 1


def _ranges(footer: Footer, target: float, max_rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield first row, rows and text bytes of each chunk of one file."""
    start = rows = size = 0
    groups = zip(footer.group_rows.tolist(), footer.group_text_bytes.tolist(), strict=True)
    for group_rows, group_bytes in groups:
        if group_rows == 0:
            continue
        fits = size + group_bytes <= target and rows + group_rows <= max_rows
        if rows and not fits:
            yield start, rows, size
            start, rows, size = start + rows, 0, 0
        if group_bytes > target or group_rows > max_rows:
            yield from _pieces(start, group_rows, group_bytes, target, max_rows)
            start += group_rows
        else:
            rows, size = rows + group_rows, size + group_bytes
    if rows:
        yield start, rows, size


def _pieces(
    start: int, rows: int, size: int, target: float, max_rows: int
) -> Iterator[tuple[int, int, int]]:
    """Split a large row group into pieces of equal rows."""
    count = min(rows, max(int(np.ceil(size / target)), int(np.ceil(rows / max_rows))))
    borders = [rows * i // count for i in range(count + 1)]
    for low, high in itertools.pairwise(borders):
        yield start + low, high - low, size * (high - low) // rows
