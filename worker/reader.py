"""Reads the rows of a chunk, a window at a time, in memory bounded by the window.

Every row of the chunk comes out exactly once and in file order, or an error says where the file
cannot be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.chunks import Chunk
from schemas.errors import InputChanged
from schemas.job import InputFile
from schemas.parquet import decoding, open_parquet
from schemas.storage import ObjectStat, Storage
from worker.texts import Texts, texts_of

# Rows scored together: the engine sorts them by length, and some thousands are enough to leave
# hardly any padding.
WINDOW_ROWS = 4_096
# A window ends early at this much text, so that a run of very long documents stays bounded.
WINDOW_BYTES = 16 << 20
# Arrow hands over this many rows at a time, fewer where rows are long.
BATCH_ROWS = 4_096
BATCH_BYTES = 4 << 20


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


def read_windows(
    storage: Storage,
    file: InputFile,
    chunk: Chunk,
    *,
    text_column: str,
    id_columns: Sequence[str],
    window_rows: int = WINDOW_ROWS,
    window_bytes: int = WINDOW_BYTES,
) -> Iterator[Window]:
    """Yield the rows of `chunk` in order.

    Raises:
        InputMissing: The file is gone.
        InputChanged: It is not the file that was planned.
        InputCorrupt: A page cannot be decoded; the error names the row group.
        StorageUnavailable: Storage does not answer.
    """
    expected = ObjectStat(uri=file.uri, size=file.size, etag=file.etag)
    columns = list(dict.fromkeys([*id_columns, text_column]))
    with open_parquet(storage, file.uri, expected=expected) as parquet:
        batches = _batches(parquet, file.uri, chunk, columns)
        yield from _windows(
            batches, chunk, text_column, list(id_columns), window_rows, window_bytes
        )


def _batches(
    parquet: pq.ParquetFile, uri: str, chunk: Chunk, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the chunk's rows as Arrow has them, one row group after the other.

    One row group at a time, so that an error can name the one it happened in.
    """
    average = max(1, chunk.text_bytes // max(1, chunk.rows))
    batch_rows = max(16, min(BATCH_ROWS, BATCH_BYTES // average))
    start, end, position = chunk.row_start, chunk.row_start + chunk.rows, 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        first, position = position, position + rows
        if position <= start or first >= end:
            continue
        with decoding(uri, row_group=group):
            stream = parquet.iter_batches(
                batch_rows, row_groups=[group], columns=columns, use_threads=False
            )
        while True:
            with decoding(uri, row_group=group):
                batch = next(stream, None)
            if batch is None:
                break
            begin, first = first, first + batch.num_rows
            low, high = max(start, begin) - begin, min(end, first) - begin
            if low < high:
                # A column `a` of strings and a struct `a.b` share a prefix; keep what was named.
                yield batch.select(columns).slice(low, high - low)
            if first >= end:
                return


def _windows(
    batches: Iterator[pa.RecordBatch],
    chunk: Chunk,
    text_column: str,
    id_columns: list[str],
    window_rows: int,
    window_bytes: int,
) -> Iterator[Window]:
    seen = 0
    held: list[pa.RecordBatch] = []
    for batch in batches:
        for piece in _pieces(batch, window_rows):
            if held and _too_large([*held, piece], text_column, window_rows, window_bytes):
                window = _window(held, chunk.row_start + seen, text_column, id_columns)
                seen, held = seen + len(window), []
                yield window
            held.append(piece)
    if held:
        window = _window(held, chunk.row_start + seen, text_column, id_columns)
        seen += len(window)
        yield window
    if seen != chunk.rows:
        raise InputChanged(
            f"chunk {chunk.index} should have {chunk.rows} rows from row {chunk.row_start} on, "
            f"the file gave {seen}: it is not the file that was planned"
        )


def _pieces(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _too_large(
    batches: list[pa.RecordBatch], text_column: str, window_rows: int, window_bytes: int
) -> bool:
    rows = sum(b.num_rows for b in batches)
    size: int = sum(b.column(text_column).nbytes for b in batches)
    return rows > window_rows or size > window_bytes


def _window(
    batches: list[pa.RecordBatch], row_start: int, text_column: str, id_columns: list[str]
) -> Window:
    table = pa.Table.from_batches(batches)
    parts = [texts_of(chunk) for chunk in table.column(text_column).chunks]
    return Window(
        row_start=row_start,
        ids=table.select(id_columns),
        texts=Texts(
            [value for part in parts for value in part.values],
            [error for part in parts for error in part.errors],
        ),
    )
