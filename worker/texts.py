"""From an Arrow column to the texts of its rows, and why a row has none to score."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.errors import RowError


@dataclass(frozen=True, slots=True)
class Texts:
    """One text or one error a row, never both.

    Attributes:
        values: The text, or an empty string where there is an error.
        errors: The code, or None where there is a text.
    """

    values: list[str]
    errors: list[RowError | None]


def as_bytes(column: pa.Array) -> pa.Array:
    """Return a text column of any kind, plain or dictionary, as `large_binary`; nothing checked."""
    return column.cast(pa.large_binary())


def byte_lengths(texts: pa.Array) -> NDArray[np.int64]:
    """Return the bytes of each text [texts], 0 for null."""
    lengths: NDArray[np.int64] = pc.fill_null(pc.binary_length(texts), 0).to_numpy()
    return lengths


def texts_of(parts: Iterable[pa.Array]) -> Texts:
    """Return the texts of `large_binary` arrays, one after the other.

    Bytes that are not UTF-8 spoil their own row only. NUL and control characters are text.
    """
    checked = [_checked(value) for part in parts for value in _decoded(part)]
    return Texts([text for text, _ in checked], [error for _, error in checked])


def _decoded(part: pa.Array) -> list[str | RowError | None]:
    try:
        found: list[str | RowError | None] = part.cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:
        found = [_decoded_alone(value) for value in part.to_pylist()]
    return found


def _decoded_alone(value: bytes | None) -> str | RowError | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return RowError.TEXT_INVALID_UTF8


def _checked(value: str | RowError | None) -> tuple[str, RowError | None]:
    if isinstance(value, RowError):
        return "", value
    if value is None:
        return "", RowError.TEXT_NULL
    if not value or value.isspace():
        return "", RowError.TEXT_BLANK
    return value, None
