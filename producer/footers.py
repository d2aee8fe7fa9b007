"""Reads what a plan needs from the footers of a corpus, and no data page."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.errors import InputCorrupt, PermanentError, SchemaMismatch, UsageError
from schemas.job import SkippedFile
from schemas.parquet import is_text, open_parquet
from schemas.results import RESERVED_COLUMNS
from schemas.storage import ObjectStat, Storage

CONCURRENT_FOOTERS = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the footer of one file says.

    Attributes:
        group_rows: int64 [row groups].
        group_text_bytes: int64 [row groups], uncompressed size of the text column.
        id_types: Arrow types of the id columns.
    """

    file: ObjectStat
    group_rows: NDArray[np.int64]
    group_text_bytes: NDArray[np.int64]
    id_types: tuple[pa.DataType, ...]


def read_footers(
    storage: Storage,
    files: Sequence[ObjectStat],
    *,
    text_column: str,
    id_columns: Sequence[str],
    skip_bad_files: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> tuple[list[Footer], list[SkippedFile]]:
    """Return the footers in the order of `files`, and the files left out.

    Raises:
        InputCorrupt: A file is not Parquet, damaged or encrypted.
        SchemaMismatch: A column is absent or of a wrong type, or files disagree.
        UsageError: An id column is named twice or like a result column, or every file is bad.
    """
    _check_id_columns(id_columns)

    def read(file: ObjectStat) -> Footer | PermanentError:
        try:
            return _read(storage, file, text_column, id_columns)
        except PermanentError as error:
            return error

    footers: list[Footer] = []
    skipped: list[SkippedFile] = []
    with ThreadPoolExecutor(CONCURRENT_FOOTERS, thread_name_prefix="footers") as pool:
        for number, (file, found) in enumerate(zip(files, pool.map(read, files), strict=True), 1):
            if isinstance(found, Footer):
                found = _agrees(found, footers, id_columns) or found
            if isinstance(found, Footer):
                footers.append(found)
            elif skip_bad_files:
                skipped.append(SkippedFile(uri=file.uri, code=found.code, reason=str(found)))
            else:
                raise found
            progress(number, len(files))
    if not footers:
        raise UsageError(
            f"none of the {len(files)} files can be read; the first: {skipped[0].reason}"
        )
    return footers, skipped


def _check_id_columns(id_columns: Sequence[str]) -> None:
    for name in id_columns:
        if name in RESERVED_COLUMNS:
            raise UsageError(f"id column {name!r} is the name of a result column; rename it")
        if list(id_columns).count(name) > 1:
            raise UsageError(f"id column {name!r} is given twice")


def _agrees(
    found: Footer, before: list[Footer], id_columns: Sequence[str]
) -> SchemaMismatch | None:
    if not before or found.id_types == before[0].id_types:
        return None
    first = before[0]
    for name, here, there in zip(id_columns, found.id_types, first.id_types, strict=True):
        if here != there:
            return SchemaMismatch(
                f"column {name!r} is {here} in {found.file.uri} and {there} in {first.file.uri}"
            )
    return None


def _read(
    storage: Storage, file: ObjectStat, text_column: str, id_columns: Sequence[str]
) -> Footer:
    with open_parquet(storage, file.uri, expected=file) as parquet:
        schema = parquet.schema_arrow
        _check_columns(file.uri, schema, text_column, id_columns)
        metadata = parquet.metadata
        column = _leaf_of(metadata, text_column)
        groups = [metadata.row_group(g) for g in range(metadata.num_row_groups)]
        return Footer(
            file=file,
            group_rows=np.array([g.num_rows for g in groups], dtype=np.int64),
            group_text_bytes=np.array(
                [_text_bytes(file.uri, g, column) for g in groups], dtype=np.int64
            ),
            id_types=tuple(schema.field(name).type for name in id_columns),
        )


def _check_columns(
    uri: str, schema: pa.Schema, text_column: str, id_columns: Sequence[str]
) -> None:
    for name in (text_column, *id_columns):
        count = schema.names.count(name)
        if count == 0:
            there = ", ".join(schema.names)
            raise SchemaMismatch(f"{uri} has no column {name!r}; its columns: {there}")
        if count > 1:
            raise SchemaMismatch(f"{uri} has {count} columns named {name!r}")
    kind = schema.field(text_column).type
    if not is_text(kind):
        raise SchemaMismatch(
            f"{uri}: column {text_column!r} is {kind}; a text column holds strings or UTF-8 bytes"
        )


def _leaf_of(metadata: pq.FileMetaData, text_column: str) -> int:
    """Return the number of the leaf column that holds the text."""
    for index in range(metadata.num_columns):
        leaf = metadata.schema.column(index)
        if leaf.path == text_column and leaf.name == leaf.path:
            return index
    return [metadata.schema.column(i).path for i in range(metadata.num_columns)].index(text_column)


def _text_bytes(uri: str, group: pq.RowGroupMetaData, column: int) -> int:
    if group.num_rows == 0:
        return 0
    try:
        return int(group.column(column).total_uncompressed_size)
    except (pa.ArrowException, OSError) as error:
        raise InputCorrupt(f"{uri}: the text column cannot be read: {error}") from error
