"""The token ids of words, each word tokenized when it is met first.

Polars keeps the words and gives each a number, Arrow the ids; the interpreter is free meanwhile.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

# Characters of the words that are remembered, some 90 MB with their ids: 400,000 words of English.
# When there are more, those that were not met again since the last time are forgotten.
REMEMBERED_CHARACTERS = 4 << 20
# New words that the Rust side makes one encoding of: one for each takes longer, most of that while
# it holds the interpreter.
GROUP_WORDS = 256


class Lexicon:
    """The words that a tokenizer has met, and their ids. Threads may share it.

    Args:
        rust: A `tokenizers.Tokenizer`.
        first: Ids at the places before those of words.
    """

    def __init__(self, rust: Any, first: Sequence[Sequence[int]]) -> None:
        self._rust = rust
        self._first = pa.array(first, pa.list_(pa.int32()))
        self._lock = threading.Lock()
        self._begin_anew()

    def look_up(self, words: pa.LargeStringArray) -> tuple[pa.ListArray, NDArray[np.int64]]:
        """Return lists of token ids, and the place there of each of some different words.

        Whatever is raised on the way leaves a lexicon without words.
        """
        with self._lock:
            try:
                if self._characters > REMEMBERED_CHARACTERS:
                    self._forget()
                places = self._numbers(words)
                known = len(self._met_again)
                self._met_again[places[places < known]] = True
                end = int(places.max(initial=-1)) + 1
                if end > known:
                    self._learn(np.arange(known, end))
            except BaseException:
                self._begin_anew()  # some words may have a number and no ids
                raise
            return self._lists, places + len(self._first)

    def _begin_anew(self) -> None:
        self._kind = pl.Categorical(pl.Categories.random())
        # Polars forgets the words when there is no series of them.
        self._alive = pl.Series([], dtype=self._kind)
        self._lists = self._first
        self._met_again = np.empty(0, dtype=np.bool_)
        self._characters = 0

    def _numbers(self, words: pa.LargeStringArray | pl.Series) -> NDArray[np.int64]:
        """Return the number of each word, which new ones get: 0, 1, 2 and so on."""
        return pl.Series(words).cast(self._kind).to_physical().to_numpy().astype(np.int64)

    def _words(self, numbers: NDArray[np.int64]) -> pl.Series:
        return pl.Series(numbers, dtype=pl.UInt32).cat.to(self._kind).cast(pl.String)

    def _learn(self, numbers: NDArray[np.int64]) -> None:
        """Have the words of these numbers, the next ones, tokenized."""
        words = self._words(numbers)
        self._add(words, _tokenized(self._rust, words.to_list()))

    def _add(self, words: pl.Series, lists: pa.ListArray) -> None:
        """Take ids of words in the order of their numbers."""
        self._lists = pa.concat_arrays([self._lists, lists])
        self._met_again = np.append(self._met_again, np.zeros(len(words), dtype=np.bool_))
        self._characters += _characters(words)

    def _forget(self) -> None:
        """Keep the words that were met again since the last time; none where these are most."""
        kept = np.flatnonzero(self._met_again)
        words, lists = self._words(kept), self._lists.take(pa.array(kept + len(self._first)))
        self._begin_anew()
        if _characters(words) <= REMEMBERED_CHARACTERS // 2:
            order = np.argsort(self._numbers(words))
            self._add(words, lists.take(pa.array(order)))


def _characters(words: pl.Series) -> int:
    return int(words.str.len_chars().sum())


def _tokenized(rust: Any, words: list[str]) -> pa.ListArray:
    """Return the ids of each word, as if it were a text."""
    groups = [words[i : i + GROUP_WORDS] for i in range(0, len(words), GROUP_WORDS)]
    rust.no_truncation()
    encodings = rust.encode_batch(groups, is_pretokenized=True, add_special_tokens=False)
    counts = [
        np.bincount(np.array(encoding.word_ids, dtype=np.int64), minlength=len(group))
        for group, encoding in zip(groups, encodings, strict=True)
    ]
    ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.concatenate(ids)))
