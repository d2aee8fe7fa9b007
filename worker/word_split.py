"""Splits texts into words, as Arrow has them: no text is touched but as bytes of UTF-8."""

import string
import unicodedata
from functools import cache
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.boundaries import WordBreaks

# Kinds of bytes.
_OTHER, _ALPHANUMERIC, _PUNCTUATION = range(3)
_ALPHANUMERICS = (string.ascii_letters + string.digits).encode()
_VISIBLE_ASCII = np.isin(np.arange(256), range(ord("!"), ord("~") + 1))

S = TypeVar("S", bound=np.generic)


def split(
    texts: pa.LargeStringArray, breaks: WordBreaks
) -> tuple[pa.LargeStringArray, NDArray[np.int64]]:
    """Return the words of texts, one text after the other, and how many each has [texts].

    Put together again they are the texts. An empty text is one empty word.

    Args:
        texts: The texts, without nulls.
        breaks: Where words begin.
    """
    data, offsets = _bytes_of(texts)
    begins = _meetings(data, breaks.punctuation)
    begins[_spaces(data, breaks.spaces)] = True
    begins[offsets] = False
    starts = np.flatnonzero(begins)
    counts = 1 + np.diff(np.searchsorted(starts, offsets))
    bounds = np.sort(np.concatenate([offsets, starts]), kind="stable")
    words = pa.LargeStringArray.from_buffers(
        len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data)
    )
    return words, counts


def _bytes_of(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of texts, one text after the other, and where each begins, and the end."""
    _, offsets_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)
    offsets = offsets[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer or b"", dtype=np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def _meetings(data: NDArray[np.uint8], punctuation: bytes) -> NDArray[np.bool_]:
    """Tell of each byte, and of the end, whether a letter or digit meets punctuation there."""
    kinds = np.full(256, _OTHER, dtype=np.uint8)
    kinds[list(_ALPHANUMERICS)] = _ALPHANUMERIC
    kinds[list(punctuation)] = _PUNCTUATION
    found = _of_bytes(kinds, data)
    met = np.zeros(len(data) + 1, dtype=np.bool_)
    np.equal(found[1:] ^ found[:-1], _ALPHANUMERIC ^ _PUNCTUATION, out=met[1:-1])
    return met


def _spaces(data: NDArray[np.uint8], spaces: bytes) -> NDArray[np.int64]:
    """Return the places of white space right behind a visible character."""
    places = 1 + np.flatnonzero(_of_bytes(np.isin(np.arange(256), list(spaces)), data[1:]))
    before = data[places - 1]
    visible = _of_bytes(_VISIBLE_ASCII, before)
    beyond = np.flatnonzero(before >= 0x80)
    if len(beyond):
        visible[beyond] = visible_characters()[_code_points(data, places[beyond])]
    return places[visible]


def _of_bytes(table: NDArray[S], data: NDArray[np.uint8]) -> NDArray[S]:
    """Return the entry [256] of each byte; none is beyond, and not to look is twice as fast."""
    return np.take(table, data, mode="clip")


def _code_points(data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the characters of two or three bytes that end at `ends`, 0 for those of four."""
    last, second, third = (data[ends - n].astype(np.int64) for n in (1, 2, 3))
    of_two = (second & 0x1F) << 6 | last & 0x3F
    of_three = (third & 0x0F) << 12 | (second & 0x3F) << 6 | last & 0x3F
    return np.select([second & 0xE0 == 0xC0, third & 0xF0 == 0xE0], [of_two, of_three], 0)


@cache
def visible_characters() -> NDArray[np.bool_]:
    """Tell of each character up to U+FFFF whether it is a letter, a number or punctuation.

    Without those that a normal form of Unicode turns into something with white space.
    """
    return np.array([_is_visible(chr(number)) for number in range(1 << 16)])


def _is_visible(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LNP" and not any(map(str.isspace, unicodedata.normalize("NFKD", character)))
