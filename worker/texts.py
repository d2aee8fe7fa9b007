"""From an Arrow column to the texts of its rows, and why a row has none to score."""

from dataclasses import dataclass

import pyarrow as pa

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


def texts_of(column: pa.Array) -> Texts:
    """Return the texts of a column of strings, UTF-8 bytes or a dictionary of either.

    Bytes that are not UTF-8 spoil their own row only. NUL and control characters are text.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    raw = column.cast(pa.large_binary())
    try:
        found: list[str | RowError | None] = raw.cast(pa.large_string()).to_pylist()
    except pa.ArrowInvalid:
        found = [_decoded(value) for value in raw.to_pylist()]
    checked = [_checked(value) for value in found]
    return Texts([text for text, _ in checked], [error for _, error in checked])


def _decoded(value: bytes | None) -> str | RowError | None:
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
    if not value.strip():
        return "", RowError.TEXT_BLANK
    return value, None
