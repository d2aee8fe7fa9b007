"""Reads the rows of a chunk, a window at a time, in memory bounded by the window.

Every row of the chunk comes out exactly once and in file order, or an error says where the file
cannot be read. Parquet itself sets a second bound: Arrow decompresses a page as a whole, and so
needs room for the largest one.
"""

import contextlib
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.chunks import Chunk
from schemas.errors import InputChanged, InputCorrupt, SchemaMismatch
from schemas.job import InputFile
from schemas.objects import ObjectStat
from schemas.parquet import corrupt, decoding, open_parquet
from schemas.storage import Storage
from worker.texts import Texts, as_bytes, byte_lengths, texts_of

# The first windows of a chunk are smaller, each so many times the one before: the engine waits for
# the first, and works on each while the next is made.
FIRST_WINDOW_ROWS = 512
# Most rows Arrow decodes at once. Small, because what they take is known only afterwards: the
# footer's average hides a run of long texts, and a text repeated through a dictionary is stored
# once. 64 rows a time cost half as much again as 4,096 (0.12 s against 0.08 s for 500,000 rows).
BATCH_ROWS = 64
BATCH_BYTES = 4 << 20


class WindowSize(NamedTuple):
    """What a window holds.

    Attributes:
        rows: Most rows of it.
        bytes: Text and ids at which it ends early, so that a run of long documents stays bounded.
        growth: How many times the rows of the window before the first windows have.
    """

    rows: int
    bytes: int
    growth: float


# The engine sorts a window by length; some thousand rows are enough to leave hardly any padding.
CPU_WINDOW = WindowSize(rows=4_096, bytes=16 << 20, growth=2)
# A GPU has a window done in a moment and runs dry at its end: the larger, the more seldom. Where it
# is nearly as fast as what reads and tokenizes, a window much larger than the last comes late.
GPU_WINDOW = WindowSize(rows=32_768, bytes=64 << 20, growth=1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Consecutive rows of a file.

    Attributes:
        row_start: Number of the first row within the file.
        ids: The id columns as they are in the file.
        texts: Text or error of every row.
    """

    row_start: int
    ids: pa.Table
    texts: Texts

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts.values)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive rows as Arrow has them, the texts as `large_binary`."""

    ids: pa.RecordBatch
    texts: pa.Array

    def row_bytes(self) -> NDArray[np.int64]:
        """Return what each row takes [rows]: its text, and its share of the ids."""
        share = int(self.ids.nbytes) // max(1, len(self.texts))
        return byte_lengths(self.texts) + share

    def slice(self, start: int, rows: int) -> "_Piece":
        return _Piece(self.ids.slice(start, rows), self.texts.slice(start, rows))


def read_windows(
    storage: Storage,
    file: InputFile,
    chunk: Chunk,
    *,
    text_column: str,
    id_columns: Sequence[str],
    size: WindowSize = CPU_WINDOW,
) -> Generator[Window, None, None]:
    """Yield the rows of `chunk` in order.

    A window holds at most what `size` says, or a single larger row; the first one holds at most
    `FIRST_WINDOW_ROWS` rows, and each `size.growth` times as many as the one before.

    Raises:
        InputMissing: The file is gone.
        InputChanged: It is not the file that was planned.
        InputCorrupt: A page cannot be decoded, and the error names the row group; or an id is not
            of its column's type, such as a string that is not UTF-8.
        SchemaMismatch: A column is not there, or there twice.
        StorageUnavailable: Storage does not answer.
    """
    expected = ObjectStat(uri=file.uri, size=file.size, etag=file.etag)
    position, end = chunk.row_start, chunk.row_start + chunk.rows
    with _memory_given_back(), open_parquet(storage, file.uri, expected=expected) as parquet:
        pieces = _pieces(parquet, file.uri, chunk, text_column, list(id_columns))
        for held in _grouped(pieces, _growing(size), size.bytes):
            window = Window(
                row_start=position,
                ids=pa.Table.from_batches([piece.ids for piece in held]),
                texts=texts_of([piece.texts for piece in held]),
            )
            _require_sound(window, file.uri)
            position += len(window)
            yield window
    if position != end:
        raise InputChanged(
            f"chunk {chunk.index} should be rows {chunk.row_start} to {end} of {file.uri}, which "
            f"ends at {position}: it is not the file that was planned"
        )


def _require_sound(window: Window, uri: str) -> None:
    """Check the ids, which Arrow passes on unseen: strings that are no UTF-8 spoil a result."""
    try:
        window.ids.validate(full=True)
    except pa.ArrowInvalid as error:
        end = window.row_start + len(window)
        raise InputCorrupt(
            f"{uri}, rows {window.row_start} to {end}: the id columns hold what their types do not "
            f"allow ({error}); mend the file, or score it without these --id-column"
        ) from error


@contextlib.contextmanager
def _memory_given_back() -> Iterator[None]:
    """Return to the system what Arrow's pool keeps for later: for huge pages that is a lot."""
    try:
        yield
    finally:
        pa.default_memory_pool().release_unused()


def _pieces(
    parquet: pq.ParquetFile, uri: str, chunk: Chunk, text_column: str, id_columns: list[str]
) -> Iterator[_Piece]:
    """Yield the chunk's rows in pieces, from one row group after the other."""
    columns = list(dict.fromkeys([*id_columns, text_column]))
    _require_columns(parquet.schema_arrow, columns, uri)
    average_bytes = max(1, chunk.text_bytes // max(1, chunk.rows))
    batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // average_bytes))
    start, end, position = chunk.row_start, chunk.row_start + chunk.rows, 0
    for group in range(parquet.num_row_groups):
        first, position = position, position + parquet.metadata.row_group(group).num_rows
        if position <= start or first >= end:
            continue
        for batch in _batches(parquet, uri, group, columns, batch_rows):
            begin, first = first, first + batch.num_rows
            low, high = max(start, begin) - begin, min(end, first) - begin
            if low < high:
                rows = batch.slice(low, high - low)
                yield _Piece(rows.select(id_columns), as_bytes(rows.column(text_column)))
            if first >= end:
                return
        if first != position:
            raise corrupt(uri, group, f"{position - first} rows are missing")


def _batches(
    parquet: pq.ParquetFile, uri: str, group: int, columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield one row group; one at a time, so that an error can name the one it happened in."""
    with decoding(uri, row_group=group):
        stream = parquet.iter_batches(
            batch_rows, row_groups=[group], columns=columns, use_threads=False
        )
    while True:
        with decoding(uri, row_group=group):
            batch = next(stream, None)
        if batch is None:
            return
        # Arrow selects by prefix of the path: `meta` and a flat `meta.text` come together.
        yield batch.select(columns)


def _require_columns(schema: pa.Schema, columns: list[str], uri: str) -> None:
    """Check what Arrow does not: it reads no column at all, silently, where there is none."""
    for name in columns:
        if (times := schema.names.count(name)) != 1:
            raise SchemaMismatch(f"{uri} has column {name!r} {times} times instead of once")


def _growing(size: WindowSize) -> Iterator[int]:
    """Yield the rows of each window, without end."""
    rows = FIRST_WINDOW_ROWS
    while True:
        yield min(rows, size.rows)
        rows = min(math.ceil(rows * size.growth), size.rows)


def _grouped(
    pieces: Iterator[_Piece], sizes: Iterator[int], window_bytes: int
) -> Iterator[list[_Piece]]:
    """Yield pieces cut and collected so that they fit a window together; `sizes` are its rows."""
    held: list[_Piece] = []
    rows = size = 0
    window_rows = next(sizes)
    for piece in pieces:
        row_bytes = piece.row_bytes()
        start = 0
        while start < len(row_bytes):
            fit = _fitting(row_bytes[start:], window_rows - rows, window_bytes - size)
            if not held:
                fit = max(fit, 1)
            if fit:
                held.append(piece.slice(start, fit))
                rows, size = rows + fit, size + int(row_bytes[start : start + fit].sum())
                start += fit
            else:
                yield held
                held, rows, size = [], 0, 0
                window_rows = next(sizes)
    if held:
        yield held


def _fitting(row_bytes: NDArray[np.int64], rows: int, size: int) -> int:
    """Return how many rows from the first on fit into `rows` rows and `size` bytes."""
    return min(rows, int(np.searchsorted(np.cumsum(row_bytes), size, side="right")))
