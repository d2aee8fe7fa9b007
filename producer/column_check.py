"""Asks Arrow whether it can read the columns of a file, without a byte of the file's pages.

Arrow looks into a column's metadata only when the column is used, and where that metadata is
damaged or encrypted `RowGroupMetaData.column` does not raise: it ends the process. The readers of
batches meet the same damage first, and raise.
"""

import io
from collections.abc import Sequence

import pyarrow.parquet as pq

from schemas.parquet import decoding

# Not zero: then Arrow would read a whole column before it looks at the first page.
_BUFFER_BYTES = 1


class _Hollow(io.RawIOBase):
    """A file of a certain size from which nothing comes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = (0, self._position, self._size)[whence] + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        return b""


def require_readable(
    uri: str, size: int, metadata: pq.FileMetaData, columns: Sequence[str]
) -> None:
    """Check the metadata of `columns` in every row group of a file of `size` bytes.

    Raises:
        InputCorrupt: A column needs a key, is said to lie outside the file, or its metadata
            contradicts itself.
    """
    groups = range(metadata.num_row_groups)
    with (
        decoding(uri),
        pq.ParquetFile(
            _Hollow(size), metadata=metadata, buffer_size=_BUFFER_BYTES, pre_buffer=False
        ) as file,
    ):
        # Finding no page in a row group, Arrow goes on to the next, up to the last.
        next(file.iter_batches(1, groups, columns, use_threads=False), None)
