"""Reads what a plan needs from the footers of a corpus, many at a time and no data page."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from producer.ahead import map_ahead
from producer.column_check import require_readable
from producer.columns import Columns, check_columns, leaf_of
from schemas.errors import (
    BulkError,
    InputCorrupt,
    InputMissing,
    SchemaMismatch,
)
from schemas.job import SkippedFile
from schemas.objects import ObjectStat
from schemas.parquet import decoding
from schemas.storage import Storage

# Read from the end of every file: nearly all footers fit, and a second request costs more than
# the bytes that were not needed.
TAIL_BYTES = 64 * 1024
# Files whose tails are asked for at a time, and how many such batches are under way.
FILES_PER_BATCH = 32
CONCURRENT_BATCHES = 4
# No row group has so many rows, no column of one so many bytes; a damaged footer may say so.
MAX_GROUP_ROWS = 2**31
MAX_GROUP_BYTES = 2**48

_FRAME_BYTES = 8  # length of the footer, then the magic bytes
_SMALLEST_FILE_BYTES = 12
_PLAIN, _ENCRYPTED = b"PAR1", b"PARE"
# What `--skip-bad-files` may leave out. Refused credentials are not the file's fault.
_BAD_FILE = (InputCorrupt, InputMissing, SchemaMismatch)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What the footer of one file says.

    Attributes:
        group_rows: int64 [row groups].
        group_text_bytes: int64 [row groups], uncompressed size of the text column. Less than the
            text where the file stores each distinct text once.
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
    id_columns: Sequence[str] = (),
    skip_bad_files: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> tuple[list[Footer], list[SkippedFile]]:
    """Return the footers in the order of `files`, and the files left out.

    Raises:
        InputMissing: A file is gone since it was listed.
        InputCorrupt: A file is not Parquet, damaged or encrypted.
        SchemaMismatch: A column is absent or of a wrong type, or files disagree.
        UsageError: An id column is named twice or like a result column.
    """
    columns = Columns(text=text_column, ids=tuple(id_columns))
    footers: list[Footer] = []
    skipped: list[SkippedFile] = []
    for done, (file, found) in enumerate(_read_all(storage, files, columns), start=1):
        if isinstance(found, Footer) and footers:
            found = _agreeing(found, footers[0], columns)
        if isinstance(found, Footer):
            footers.append(found)
        elif skip_bad_files and isinstance(found, _BAD_FILE):
            skipped.append(SkippedFile(uri=file.uri, code=found.code, reason=str(found)))
        else:
            raise found
        progress(done, len(files))
    return footers, skipped


def _read_all(
    storage: Storage, files: Sequence[ObjectStat], columns: Columns
) -> Iterator[tuple[ObjectStat, Footer | BulkError]]:
    batches = [files[i : i + FILES_PER_BATCH] for i in range(0, len(files), FILES_PER_BATCH)]

    parsing = Lock()

    def read(batch: Sequence[ObjectStat]) -> list[Footer | BulkError]:
        tails = _tails(storage, batch)
        # The threads are there to wait. Parsing at the same time, they would take the
        # interpreter's lock from each other several times in every file.
        with parsing:
            return [_parse(f, t, columns) for f, t in zip(batch, tails, strict=True)]

    found = map_ahead(read, batches, threads=CONCURRENT_BATCHES, name="footers")
    for batch, footers in zip(batches, found, strict=True):
        yield from zip(batch, footers, strict=True)


def _tails(storage: Storage, files: Sequence[ObjectStat]) -> list[bytes | BulkError]:
    """Return the end of each file with its whole footer, or why it could not be read."""
    tails = storage.read_ranges([_range(file, TAIL_BYTES) for file in files])
    for index, (file, tail) in enumerate(zip(files, tails, strict=True)):
        needed = _footer_bytes(tail) + _FRAME_BYTES if isinstance(tail, bytes) else 0
        if TAIL_BYTES < needed <= file.size:
            tails[index] = storage.read_ranges([_range(file, needed)])[0]
    return tails


def _range(file: ObjectStat, size: int) -> tuple[str, int, int]:
    return file.uri, max(0, file.size - size), file.size


def _footer_bytes(tail: bytes) -> int:
    return int.from_bytes(tail[-_FRAME_BYTES:-4], "little") if tail[-4:] == _PLAIN else 0


def _parse(file: ObjectStat, tail: bytes | BulkError, columns: Columns) -> Footer | BulkError:
    try:
        if not isinstance(tail, bytes):
            return tail
        _check_frame(file, tail)
        return _footer(file, tail, columns)
    except BulkError as error:
        return error


def _check_frame(file: ObjectStat, tail: bytes) -> None:
    if file.size < _SMALLEST_FILE_BYTES:
        raise InputCorrupt(f"{file.uri} is not Parquet: it has {file.size} bytes")
    if tail[-4:] == _ENCRYPTED:
        raise InputCorrupt(f"{file.uri} is encrypted, and bulkscore reads no encrypted Parquet")
    if tail[-4:] != _PLAIN:
        raise InputCorrupt(f"{file.uri} is not Parquet, or its end is missing")


def _footer(file: ObjectStat, tail: bytes, columns: Columns) -> Footer:
    with decoding(file.uri):
        metadata = pq.read_metadata(pa.BufferReader(tail))
        schema = metadata.schema.to_arrow_schema()
    check_columns(file.uri, schema, columns)
    rows = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
    _require_plain(file, tail, metadata, columns)
    with decoding(file.uri):
        sizes = _text_bytes(metadata, rows, columns.text)
    if (
        metadata.num_rows != sum(rows)
        or not all(0 <= n < MAX_GROUP_ROWS for n in rows)
        or not all(0 <= n < MAX_GROUP_BYTES for n in sizes)
    ):
        raise InputCorrupt(f"{file.uri}: the footer gives row counts or sizes that cannot be")
    return Footer(
        file=file,
        group_rows=np.array(rows, dtype=np.int64),
        group_text_bytes=np.array(sizes, dtype=np.int64),
        id_types=tuple(schema.field(name).type for name in columns.ids),
    )


def _require_plain(
    file: ObjectStat, tail: bytes, metadata: pq.FileMetaData, columns: Columns
) -> None:
    try:
        require_readable(file.uri, file.size, metadata, columns.all)
    except InputCorrupt as error:
        # Bytes behind the footer's own are a signature: some columns are encrypted.
        if metadata.serialized_size == _footer_bytes(tail):
            raise
        raise InputCorrupt(
            f"{file.uri} has encrypted columns, and {' or '.join(map(repr, columns.all))} cannot "
            "be read without a key"
        ) from error


def _text_bytes(metadata: pq.FileMetaData, rows: Sequence[int], text_column: str) -> list[int]:
    leaf = leaf_of(metadata.schema, text_column)
    groups = (metadata.row_group(g) for g in range(metadata.num_row_groups))
    return [
        group.column(leaf).total_uncompressed_size if count else 0
        for group, count in zip(groups, rows, strict=True)
    ]


def _agreeing(found: Footer, first: Footer, columns: Columns) -> Footer | SchemaMismatch:
    for name, here, there in zip(columns.ids, found.id_types, first.id_types, strict=True):
        if here != there:
            return SchemaMismatch(
                f"column {name!r} is {here} in {found.file.uri} and {there} in {first.file.uri}"
            )
    return found
