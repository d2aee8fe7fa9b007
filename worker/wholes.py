"""Token ids of texts, each tokenized as a whole by the Rust tokenizer, in batches."""

import contextlib
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.job import LongText
from worker.encoded import Ids, Passages, lists_of
from worker.overlap import prefetched
from worker.texts import batches

# Texts that the Rust tokenizer is given in one call; more gain nothing. What one call gave is read
# while the next is under way.
CALL_TEXTS = 512
# Share of a passage that it has in common with the one before, a quarter.
OVERLAP = 4


class Wholes:
    """Makes passages of whole texts. One thread may use it at a time.

    Args:
        rust: A `tokenizers.Tokenizer`.
        max_length: Most ids of a passage, special tokens included.
        room: The same without special tokens.
        side: "right" to keep the first ids of a text that is truncated, "left" to keep the last.
    """

    def __init__(self, rust: Any, max_length: int, room: int, side: str) -> None:
        self._rust = rust
        self._max_length = max_length
        self._stride = room // OVERLAP
        self._side = side

    def passages(self, texts: pa.LargeStringArray, long_text: LongText) -> Passages:
        """Return the passages of texts; where the library fails, an empty one."""
        if long_text == "truncate":
            self._rust.enable_truncation(self._max_length, direction=self._side)
        else:
            self._rust.enable_truncation(self._max_length, stride=self._stride)
        calls = (self._encodings(call.to_pylist()) for call in batches(texts, CALL_TEXTS))
        rows: list[Ids] = []
        counts: list[int] = []
        long: list[bool] = []
        with contextlib.closing(prefetched(calls)) as called:
            for encoding in chain.from_iterable(called):
                further = encoding.overflowing if encoding else []
                parts = [encoding] if long_text == "truncate" else [encoding, *further]
                rows += map(_ids, parts)
                counts.append(len(parts))
                long.append(bool(further))
        return Passages(lists_of(rows), np.array(counts, np.int64), np.array(long, np.bool_))

    def _encodings(self, texts: list[str | None]) -> list[Any]:
        """Return the encoding of each text, None where it failed."""
        try:
            found: list[Any] = self._rust.encode_batch_fast(texts)
        except BaseException as error:
            if not is_about_content(error):
                raise
            if len(texts) == 1:
                return [None]
            return [encoding for text in texts for encoding in self._encodings([text])]
        return found


def is_about_content(error: BaseException) -> bool:
    """Tell what is said of a text or a file from time limits, signals and a full memory."""
    # An error of the Rust side is a plain Exception, a null a TypeError; a panic in Rust arrives as
    # a BaseException whose class cannot be imported.
    known = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
    plain = type(error) is Exception or isinstance(error, known)
    return plain or type(error).__name__ == "PanicException"


def _ids(encoding: Any) -> Ids:
    return np.array(encoding.ids if encoding else [], dtype=np.int32)
