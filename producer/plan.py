"""Cuts a corpus into chunks. Pure: from footers to a chunk table, column by column in numpy.

A billion rows make half a million chunks; no chunk, row group or row is ever a Python object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from producer.footers import Footer
from schemas.chunks import ChunkTable
from schemas.errors import UsageError

# A chunk of very short texts holds at most this many times --chunk-rows: reading, writing and
# bookkeeping cost something for every row, however short its text.
MAX_ROWS_FACTOR = 4
# The ledger and the chunk table count the rows of a chunk in 32 bits.
MAX_CHUNK_ROWS = 2**31 - 1
# Twenty billion rows at 2,000 each. A damaged footer may claim any number, which would fill the
# memory with chunks.
MAX_CHUNKS = 10_000_000

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A plan in numbers."""

    files: int
    file_bytes: int
    row_groups: int
    rows: int
    text_bytes: int
    chunks: int
    target_text_bytes: int
    max_chunk_rows: int
    smallest_chunk_rows: int
    largest_chunk_rows: int
    smallest_chunk_text_bytes: int
    largest_chunk_text_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job would do."""

    chunks: ChunkTable
    report: PlanReport

    @property
    def files(self) -> int:
        """Number of files."""
        return self.report.files

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self.report.rows

    @property
    def text_bytes(self) -> int:
        """Uncompressed size of the text column of all files."""
        return self.report.text_bytes


def make_plan(footers: Sequence[Footer], chunk_rows: int) -> Plan:
    """Cut the rows of all files into chunks; every row is in exactly one.

    A chunk is a range of rows of one file. It aims at the bytes that `chunk_rows` rows of average
    length have, so that chunks take about the same time: long texts make chunks of fewer rows,
    short ones chunks of more, up to `MAX_ROWS_FACTOR` times `chunk_rows`. Whole row groups are
    put together while they keep within both limits; a row group beyond one of them is cut into
    the fewest equal pieces that keep within. Files and row groups without a row give no chunk.

    Raises:
        UsageError: That would be more than `MAX_CHUNKS`.
    """
    groups = _Groups.of(footers)
    rows, text_bytes = int(groups.rows.sum()), int(groups.text_bytes.sum())
    target = min(-(-text_bytes * chunk_rows // max(1, rows)), text_bytes) or 1
    max_rows = min(MAX_ROWS_FACTOR * chunk_rows, MAX_CHUNK_ROWS)
    pieces = _pieces(groups, target, max_rows)
    if (count := int(pieces[pieces > 1].sum())) > MAX_CHUNKS:
        most = max(footers, key=lambda footer: int(footer.group_rows.sum()))
        raise UsageError(
            f"the footers give {rows:,} rows, which would be {count:,} chunks or more, and "
            f"{MAX_CHUNKS:,} is the most; raise --chunk-rows, or leave out what is damaged: "
            f"{int(most.group_rows.sum()):,} of the rows should be in {most.file.uri}"
        )
    chunks = _cut(groups, pieces, target, max_rows)
    fewest_rows, most_rows = _extremes(chunks.column("rows"))
    fewest_bytes, most_bytes = _extremes(chunks.column("text_bytes"))
    report = PlanReport(
        files=len(footers),
        file_bytes=sum(f.file.size for f in footers),
        row_groups=sum(len(f.group_rows) for f in footers),
        rows=rows,
        text_bytes=text_bytes,
        chunks=len(chunks),
        target_text_bytes=target,
        max_chunk_rows=max_rows,
        smallest_chunk_rows=fewest_rows,
        largest_chunk_rows=most_rows,
        smallest_chunk_text_bytes=fewest_bytes,
        largest_chunk_text_bytes=most_bytes,
    )
    return Plan(chunks=chunks, report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """The row groups of all files that hold a row, in order; all arrays int64 [row groups]."""

    file: Numbers
    row_start: Numbers
    rows: Numbers
    text_bytes: Numbers

    @classmethod
    def of(cls, footers: Sequence[Footer]) -> "_Groups":
        empty = [np.zeros(0, np.int64)]
        rows = np.concatenate(empty + [f.group_rows for f in footers])
        starts = [np.cumsum(f.group_rows) - f.group_rows for f in footers]
        counts = [len(f.group_rows) for f in footers]
        kept = rows > 0
        return cls(
            file=np.repeat(np.arange(len(footers)), counts)[kept],
            row_start=np.concatenate(empty + starts)[kept],
            rows=rows[kept],
            text_bytes=np.concatenate(empty + [f.group_text_bytes for f in footers])[kept],
        )


def _pieces(groups: _Groups, target: int, max_rows: int) -> Numbers:
    """Return into how many pieces each row group is to be cut, 1 where it may stay whole."""
    pieces = np.maximum(-(-groups.text_bytes // target), -(-groups.rows // max_rows))
    return np.clip(pieces, 1, groups.rows)


def _cut(groups: _Groups, pieces: Numbers, target: int, max_rows: int) -> ChunkTable:
    first, last = _merge(groups, pieces > 1, target, max_rows)
    # From here on a chunk is piece `part` of `of`, out of row groups `first` to `last`; a chunk of
    # several row groups is one piece.
    of = pieces[first]
    chunk_first, chunk_last, chunk_of = (np.repeat(a, of) for a in (first, last, of))
    part = np.arange(len(chunk_of)) - np.repeat(np.cumsum(of) - of, of)
    rows_before = _before(groups.rows)
    bytes_before = _before(groups.text_bytes)
    rows = rows_before[chunk_last] - rows_before[chunk_first]
    text_bytes = bytes_before[chunk_last] - bytes_before[chunk_first]
    return ChunkTable.from_columns(
        file=groups.file[chunk_first],
        row_start=groups.row_start[chunk_first] + _share_before(rows, chunk_of, part),
        rows=_share(rows, chunk_of, part),
        text_bytes=_share(text_bytes, chunk_of, part),
    )


def _merge(
    groups: _Groups, is_large: NDArray[np.bool_], target: int, max_rows: int
) -> tuple[Numbers, Numbers]:
    """Put neighbors together, greedily from the left of every run of small groups of one file.

    Returns:
        First row group of each merged one, and the row group after its last.
    """
    count = len(groups.rows)
    new_file = np.diff(groups.file, prepend=-1) != 0
    starts_run = new_file | is_large | np.concatenate([[False], is_large[:-1]])[:count]
    run_starts = np.flatnonzero(starts_run)
    run_end = np.append(run_starts, count)[np.cumsum(starts_run)]
    rows_before, bytes_before = _before(groups.rows), _before(groups.text_bytes)
    # Where a chunk ends that begins at each row group: as far as all three limits let it reach.
    reach = np.searchsorted(bytes_before, bytes_before[:-1] + target, side="right") - 1
    reach = np.minimum(
        reach, np.searchsorted(rows_before, rows_before[:-1] + max_rows, "right") - 1
    )
    end = np.clip(reach, np.arange(count) + 1, run_end)
    first = np.flatnonzero(_reached(run_starts, end))
    return first, end[first]


def _reached(starts: Numbers, following: Numbers) -> NDArray[np.bool_]:
    """Say which places the chains `place → following[place]` visit from `starts`.

    Doubles the length of the steps in every round, so that a chain of a million takes twenty.
    """
    count = len(following)
    visited = np.zeros(count + 1, dtype=np.bool_)  # the last place stands for the end
    visited[starts] = True
    step = np.append(following, count)
    seen = -1
    while (total := int(np.count_nonzero(visited))) != seen:
        seen = total
        visited[step[visited]] = True
        step = step[step]
    return visited[:count]


def _extremes(amounts: Numbers) -> tuple[int, int]:
    return (int(amounts.min()), int(amounts.max())) if len(amounts) else (0, 0)


def _before(amounts: Numbers) -> Numbers:
    """Return the sum of all amounts before each place, and of all at the end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(amounts)])


def _share(amount: Numbers, of: Numbers, part: Numbers) -> Numbers:
    """Return what part number `part` gets of an amount that is shared equally among `of`."""
    share: Numbers = amount // of + (part < amount % of)
    return share


def _share_before(amount: Numbers, of: Numbers, part: Numbers) -> Numbers:
    """Return what all parts before number `part` get together."""
    before: Numbers = part * (amount // of) + np.minimum(part, amount % of)
    return before
