"""Opening Parquet files of strangers: bounded memory, checked pages, errors of our own tree."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputCorrupt
from schemas.objects import ObjectStat
from schemas.storage import Storage

# Larger reads save requests, smaller ones memory. A reader stays under 60 MB even in a row group
# of 500,000 rows; reading it from S3 takes a third of the requests that 1 MiB takes.
READ_BUFFER_BYTES = 4 << 20
# A damaged footer may also name a column in bytes that are no UTF-8.
_UNDECODABLE = (
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
    pa.ArrowSerializationError,
    UnicodeDecodeError,
)


@contextlib.contextmanager
def open_parquet(
    storage: Storage, uri: str, *, expected: ObjectStat | None = None
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for reading column by column in bounded memory.

    Pages that carry a checksum are held against it; those of other files are read as they are.

    Raises:
        InputMissing: There is no such file.
        InputChanged: It is not the file that `expected` describes.
        InputCorrupt: It is not Parquet, its footer is damaged or it is encrypted.
    """
    with storage.open(uri, expected=expected) as stream:
        with decoding(uri):
            file = pq.ParquetFile(
                stream,
                buffer_size=READ_BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        with file:
            yield file


@contextlib.contextmanager
def decoding(uri: str, *, row_group: int | None = None) -> Iterator[None]:
    """Turn Arrow's decode errors into InputCorrupt that names file and row group."""
    try:
        yield
    except _UNDECODABLE as error:
        raise corrupt(uri, row_group, _reason(error)) from error
    except OSError as error:
        # Arrow's own decode errors carry neither a number nor a cause; storage errors do.
        if error.errno is not None or error.__cause__ is not None or type(error) is not OSError:
            raise
        raise corrupt(uri, row_group, _reason(error)) from error


def corrupt(uri: str, row_group: int | None, reason: str) -> InputCorrupt:
    """Return the error of a file, or of one of its row groups, that cannot be read."""
    place = uri if row_group is None else f"{uri}, row group {row_group},"
    error = InputCorrupt(f"{place} cannot be read as Parquet: {reason}")
    error.row_group = row_group
    return error


def _reason(error: Exception) -> str:
    if "CRC checksum verification failed" in str(error):
        return "the checksum of a page does not match its bytes, which have changed since"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column of this Arrow type can hold the text: strings, or binary of UTF-8."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )
