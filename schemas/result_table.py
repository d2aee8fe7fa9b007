"""The results that a summary counted: the SHA-256 of each one's footer, by chunk.

A footer holds the SHA-256 of its result's data, so 32 bytes a chunk stand for every byte of the
result, and finalizing a job reads no data.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

DIGEST_BYTES = 32

RESULT_TABLE_SCHEMA = pa.schema(
    [
        pa.field("chunk", pa.int32(), nullable=False),
        pa.field("footer_sha256", pa.binary(DIGEST_BYTES), nullable=False),
    ]
)


class ResultTable:
    """Chunks in rising order and, for each, the digest of its result's footer.

    Args:
        chunks: Numbers of the chunks, rising.
        digests: Their digests one after the other, [chunks * 32] bytes.
    """

    def __init__(self, chunks: Sequence[int] | NDArray[np.int32], digests: bytes) -> None:
        self._chunks: NDArray[np.int32] = np.asarray(chunks, dtype=np.int32)
        self._digests = digests
        if len(digests) != DIGEST_BYTES * len(self._chunks):
            raise AssertionError(f"bug: {len(digests)} bytes for {len(self._chunks)} chunks")

    @classmethod
    def from_bytes(cls, data: bytes) -> "ResultTable":
        """Read what `to_bytes` wrote."""
        table = pq.read_table(pa.BufferReader(data), schema=RESULT_TABLE_SCHEMA).combine_chunks()
        digests = table.column("footer_sha256").combine_chunks()
        content = digests.buffers()[1]
        return cls(table.column("chunk").to_numpy(), content.to_pybytes() if content else b"")

    def to_bytes(self) -> bytes:
        """Write the table as Parquet."""
        digests = pa.Array.from_buffers(
            pa.binary(DIGEST_BYTES), len(self._chunks), [None, pa.py_buffer(self._digests)]
        )
        table = pa.table([pa.array(self._chunks), digests], schema=RESULT_TABLE_SCHEMA)
        sink = pa.BufferOutputStream()
        # Digests repeat nothing that a dictionary could save.
        pq.write_table(
            table, sink, compression="zstd", use_dictionary=False, write_page_checksum=True
        )
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def __len__(self) -> int:
        """Return the number of results."""
        return len(self._chunks)

    def footer_sha256(self, chunk: int) -> bytes | None:
        """Return the digest of a chunk's result, or None when it was not counted."""
        place = bisect_left(self._chunks, chunk)
        if place == len(self._chunks) or self._chunks[place] != chunk:
            return None
        return self._digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]
