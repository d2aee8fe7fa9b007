"""From an Arrow column to the texts of its rows, and why a row has none to score."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import RowError

# Bytes of the texts that are tokenized in one call. The Rust tokenizer needs some 100 bytes for
# each, most of them for tokens that truncation then drops: this bounds one call to about 100 MB.
BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Texts:
    """One text or one error a row, never both.

    Attributes:
        values: The text, or an empty string where there is an error.
        errors: The code, or None where there is a text.
    """

    values: pa.LargeStringArray
    errors: list[RowError | None]


def as_bytes(column: pa.Array) -> pa.Array:
    """Return a text column of any kind, plain or dictionary, as `large_binary`; nothing checked."""
    return column.cast(pa.large_binary())


def byte_lengths(texts: pa.Array) -> NDArray[np.int64]:
    """Return the bytes of each text [texts], 0 for null."""
    lengths: NDArray[np.int64] = pc.fill_null(pc.binary_length(texts), 0).to_numpy()
    return lengths


def batches(texts: pa.LargeStringArray, most: int) -> Iterator[pa.LargeStringArray]:
    """Yield `texts` in order, in parts of at most `BATCH_BYTES` and `most` texts, at least one."""
    ends = np.cumsum(byte_lengths(texts))
    start = 0
    while start < len(texts):
        taken = ends[start - 1] if start else 0
        fit = int(np.searchsorted(ends, taken + BATCH_BYTES, side="right"))
        stop = min(max(fit, start + 1), start + most)
        yield texts[start:stop]
        start = stop


def texts_of(parts: Sequence[pa.Array]) -> Texts:
    """Return the texts of `large_binary` arrays, one after the other.

    Bytes that are not UTF-8 spoil their own row only. NUL and control characters are text.
    """
    column = pa.concat_arrays(parts)
    errors: list[RowError | None] = [None] * len(column)

    def mark(rows: pa.Array, error: RowError) -> None:
        for row in np.flatnonzero(rows.to_numpy(zero_copy_only=False)):
            errors[row] = errors[row] or error

    mark(column.is_null(), RowError.TEXT_NULL)
    values = _decoded(column)
    mark(values.is_null(), RowError.TEXT_INVALID_UTF8)
    values = values.fill_null("")
    blank = pc.or_(pc.equal(pc.binary_length(values), 0), pc.utf8_is_space(values))
    mark(blank, RowError.TEXT_BLANK)
    return Texts(pc.if_else(blank, "", values) if pc.any(blank).as_py() else values, errors)


def _decoded(column: pa.Array) -> pa.LargeStringArray:
    """Return texts, null where there is none or it is not UTF-8."""
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array(map(_decoded_alone, column.to_pylist()), pa.large_string())


def _decoded_alone(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None
