"""A chunk of a file read to its end, and what came of it, for the tests of the reader."""

from pathlib import Path

import pyarrow.parquet as pq

from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import InputFile
from schemas.storage import Storage
from worker.reader import Window, WindowSize, read_windows


def input_file(path: Path) -> InputFile:
    """Return a file as a manifest names it."""
    found = Storage().stat(str(path))
    return InputFile(uri=str(path), size=found.size, etag=found.etag, rows=0, row_groups=0)


def chunk_of(row_start: int, rows: int, text_bytes: int | None = None) -> Chunk:
    """Return a chunk of a file, with texts of 100 bytes unless told otherwise."""
    size = rows * 100 if text_bytes is None else text_bytes
    return Chunk(index=3, file=0, row_start=row_start, rows=rows, text_bytes=size)


def read(
    path: Path,
    row_start: int = 0,
    rows: int | None = None,
    *,
    text_column: str = "text",
    id_columns: tuple[str, ...] = ("id",),
    window_rows: int = 1_000,
    window_bytes: int = 1 << 20,
    growth: float = 2,
) -> list[Window]:
    """Return the windows of a chunk; all rows of the file unless told otherwise."""
    count = pq.read_metadata(path).num_rows - row_start if rows is None else rows
    return list(
        read_windows(
            Storage(),
            input_file(path),
            chunk_of(row_start, count),
            text_column=text_column,
            id_columns=id_columns,
            size=WindowSize(window_rows, window_bytes, growth=growth),
        )
    )


def ids_of(windows: list[Window], column: str = "id") -> list[object]:
    """Return the ids of all rows."""
    return [value for window in windows for value in window.ids[column].to_pylist()]


def texts_of(windows: list[Window]) -> list[str]:
    """Return the texts of all rows."""
    return [text for window in windows for text in window.texts.values.to_pylist()]


def errors_of(windows: list[Window]) -> list[RowError | None]:
    """Return the error of each row."""
    return [error for window in windows for error in window.texts.errors]
