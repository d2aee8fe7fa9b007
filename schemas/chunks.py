"""The chunk: a row range of one file, unit of queueing, retry and result; and the chunk table."""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

CHUNK_SCHEMA = pa.schema(
    [
        pa.field("file", pa.int32(), nullable=False),  # index into Manifest.files
        pa.field("row_start", pa.int64(), nullable=False),  # first row within the file
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),  # uncompressed, estimated for a piece
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows `row_start` up to, not including, `row_start + rows` of file number `file`."""

    index: int
    file: int
    row_start: int
    rows: int
    text_bytes: int


class ChunkTable:
    """All chunks of a job in columns: 24 bytes a chunk, so that a million fit everywhere."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.combine_chunks()

    @classmethod
    def from_chunks(cls, chunks: Iterable[Chunk]) -> "ChunkTable":
        """Collect chunks that are already numbered from 0 in order, without keeping any."""
        columns = [array("i"), array("q"), array("i"), array("q")]
        for number, chunk in enumerate(chunks):
            if chunk.index != number:
                raise AssertionError(f"bug: chunk {chunk.index} stands at place {number}")
            values = (chunk.file, chunk.row_start, chunk.rows, chunk.text_bytes)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        arrays = [
            pa.Array.from_buffers(field.type, len(column), [None, pa.py_buffer(column)])
            for field, column in zip(CHUNK_SCHEMA, columns, strict=True)
        ]
        return cls(pa.Table.from_arrays(arrays, schema=CHUNK_SCHEMA))

    @classmethod
    def from_columns(cls, **columns: NDArray[np.int64]) -> "ChunkTable":
        """Take whole columns, one array for each field of `CHUNK_SCHEMA`; no chunk is an object."""
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in CHUNK_SCHEMA]
        return cls(pa.Table.from_arrays(arrays, schema=CHUNK_SCHEMA))

    @classmethod
    def from_bytes(cls, data: bytes) -> "ChunkTable":
        """Read what `to_bytes` wrote."""
        return cls(pq.read_table(pa.BufferReader(data), schema=CHUNK_SCHEMA))

    def to_bytes(self) -> bytes:
        """Write the table as Parquet."""
        sink = pa.BufferOutputStream()
        pq.write_table(self._table, sink, compression="zstd", write_page_checksum=True)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def __len__(self) -> int:
        """Return the number of chunks."""
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> Chunk:
        """Return chunk `index`."""
        row = self._table.slice(index, 1).to_pylist()[0]
        return Chunk(index=index, **row)

    def column(self, name: str) -> NDArray[np.int64]:
        """Return one field of all chunks."""
        values: NDArray[np.int64] = self._table.column(name).to_numpy()
        return values

    @property
    def table(self) -> pa.Table:
        """The chunks as an Arrow table of `CHUNK_SCHEMA`."""
        return self._table


def sha256_of(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()
