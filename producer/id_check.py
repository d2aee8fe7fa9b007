"""Compares the ids in results with those of the corpus, which is read once, in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from producer.findings import Finding, FindingKind
from producer.row_check import row_ranges
from schemas.chunks import Chunk
from schemas.errors import InputChanged, InputCorrupt, InputMissing
from schemas.job import InputFile
from schemas.objects import ObjectStat, require_unchanged
from schemas.parquet import decoding, open_parquet
from schemas.storage import Storage
from schemas.storage_errors import translated

# Rows that Arrow decodes at a time.
BATCH_ROWS = 8_192
_CORPUS_ERRORS = (InputMissing, InputChanged, InputCorrupt)


class CorpusIds:
    """The corpus beside chunks of one file, in rising order; a context manager.

    A file that is gone, damaged or not as planned is a `problem`, not an error. Without id columns
    only the file as such is looked at.
    """

    def __init__(
        self, storage: Storage, file: InputFile, columns: Sequence[str], *, first_row: int
    ) -> None:
        self._storage, self._file, self._columns = storage, file, columns
        self._first_row = first_row
        self._opened = ExitStack()
        self._reader: IdReader | None = None
        self.problem: str | None = None

    def compare(self, chunk: Chunk, found: pa.Table) -> list[Finding]:
        """Return how the ids of a result differ from the file's, none if they cannot be read."""
        if self._reader is None:
            return []
        try:
            with translated(self._file.uri):
                wanted = self._reader.rows(chunk.row_start, chunk.rows)
        except _CORPUS_ERRORS as error:
            self._give_up(error)
            return []
        return compare_ids(chunk, found, wanted)

    def __enter__(self) -> Self:
        try:
            self._reader = self._open()
        except _CORPUS_ERRORS as error:
            self._give_up(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._opened.close()
        except _CORPUS_ERRORS as changed:  # what was read may be of two files
            self._give_up(changed)

    def _open(self) -> "IdReader | None":
        file = self._file
        expected = ObjectStat(uri=file.uri, size=file.size, etag=file.etag)
        if not self._columns:
            if self._first_row == 0:
                require_unchanged(self._storage.stat(file.uri), expected)
            return None
        parquet = self._opened.enter_context(
            open_parquet(self._storage, file.uri, expected=expected)
        )
        return IdReader(parquet, file.uri, self._columns, first_row=self._first_row)

    def _give_up(self, error: Exception) -> None:
        self._reader = None
        self.problem = f"the corpus is not as it was planned, ids cannot be compared: {error}"


class IdReader:
    """The id columns of one file, from a row on; asked for ranges in rising order."""

    def __init__(
        self, parquet: pq.ParquetFile, uri: str, columns: Sequence[str], *, first_row: int
    ) -> None:
        self._columns = list(columns)
        self._batches = _batches(parquet, uri, self._columns, first_row)
        self._schema = pa.schema([parquet.schema_arrow.field(name) for name in self._columns])
        self._start = self._end = 0
        self._batch: pa.RecordBatch | None = None

    def rows(self, start: int, count: int) -> pa.Table:
        """Return rows `start` up to `start + count`; fewer when the file ends before."""
        end, taken = start + count, []
        while start < end:
            if start >= self._end and not self._advance():
                break
            if start < self._end and self._batch is not None:
                low = max(0, start - self._start)
                piece = self._batch.slice(low, min(end, self._end) - self._start - low)
                taken.append(piece)
                start = min(end, self._end)
        return pa.Table.from_batches(taken, schema=self._schema)

    def _advance(self) -> bool:
        found = next(self._batches, None)
        if found is None:
            return False
        self._start, self._batch = found
        self._end = self._start + self._batch.num_rows
        return True


def compare_ids(chunk: Chunk, found: pa.Table, wanted: pa.Table) -> list[Finding]:
    """Return how the ids of a result differ from those of the corpus."""
    findings = []
    for name in wanted.column_names:
        here, there = found.column(name), wanted.column(name)
        if here.equals(there):
            continue
        if _plain_type(here.type) != _plain_type(there.type):
            text = f"column {name!r} is {here.type}, in the corpus it is {there.type}"
            findings.append(_finding(chunk, text, chunk.rows))
            continue
        rows = _differing(here.to_pylist(), there.to_pylist(), chunk.row_start)
        if rows:
            text = f"column {name!r} is not that of the corpus in {len(rows)} rows: "
            findings.append(_finding(chunk, text + row_ranges(rows), len(rows)))
    return findings


def _batches(
    parquet: pq.ParquetFile, uri: str, columns: list[str], first_row: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield batches with the number of their first row, from the row group of `first_row` on."""
    position = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if position + rows > first_row:
            at = position
            with decoding(uri, row_group=group):
                for batch in parquet.iter_batches(
                    BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
                ):
                    yield at, batch.select(columns)
                    at += batch.num_rows
        position += rows


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _differing(here: Sequence[object], there: Sequence[object], first_row: int) -> list[int]:
    # A NaN is unequal to itself and still the same id.
    return [
        first_row + place
        for place, (a, b) in enumerate(zip(here, there, strict=True))
        if a != b and (a == a or b == b)
    ]


def _finding(chunk: Chunk, text: str, count: int) -> Finding:
    message = f"result of chunk {chunk.index}: {text}"
    return Finding(kind=FindingKind.IDS, chunk=chunk.index, count=count, message=message)
