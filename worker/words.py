"""Token ids of texts, put together from those of their words: each new word is tokenized once.

A corpus has few different words for its size. After some thousand texts nine of ten were there
before, and to look one up takes a small part of the time of tokenizing it. What a word is, and why
its ids are the same alone as within a text: `worker.boundaries`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from worker.boundaries import WordBreaks, word_breaks
from worker.encoded import Ids, Passages, lengths_of, lists_of
from worker.lexicon import Lexicon
from worker.word_split import split

# Places in the lexicon of the special tokens before and behind a text.
_BEFORE, _AFTER = range(2)


class Words:
    """Makes passages of texts by their words. Threads may share it.

    Args:
        rust: A `tokenizers.Tokenizer`.
        breaks: Where words begin.
        before: Ids of the special tokens before those of a text.
        after: And behind them.
    """

    def __init__(self, rust: Any, breaks: WordBreaks, before: list[int], after: list[int]) -> None:
        self._before = len(before)
        self._after = len(after)
        self._breaks = breaks
        self._lexicon = Lexicon(rust, [before, after])

    def passages(
        self, texts: pa.LargeStringArray, room: int, begins: Callable[[int], Sequence[int]]
    ) -> Passages:
        """Return the ids of each text in passages, special tokens included.

        Args:
            texts: The texts.
            room: Most ids of a passage, special tokens apart.
            begins: Tells where the passages of a text begin that has so many ids, more than fit.
        """
        whole = self._whole(texts)
        sizes = lengths_of(whole) - self._before - self._after
        long = sizes > room
        if not long.any():
            return Passages(whole, np.ones(len(texts), dtype=np.int64), long)
        counts = np.ones(len(texts), dtype=np.int64)
        parts: list[Ids] = []
        for text in np.flatnonzero(long).tolist():
            before, ids, after = np.split(
                whole[text].values.to_numpy(), [self._before, self._before + sizes[text]]
            )
            starts = begins(len(ids))
            counts[text] = len(starts)
            parts += [np.concatenate([before, ids[i : i + room], after]) for i in starts]
        order = np.repeat(np.arange(len(texts)), counts)
        order[np.repeat(long, counts)] = len(texts) + np.arange(len(parts))
        rows = pa.concat_arrays([whole, lists_of(parts)]).take(pa.array(order))
        return Passages(rows, counts, long)

    def _whole(self, texts: pa.LargeStringArray) -> pa.ListArray:
        """Return all ids of each text, special tokens included."""
        words, counts = split(texts, self._breaks)
        different = words.dictionary_encode()
        lists, places = self._lexicon.look_up(different.dictionary)
        ends = np.cumsum(counts + 2)
        is_word = np.ones(ends[-1], dtype=np.bool_)
        is_word[ends - 1] = is_word[ends - counts - 2] = False
        parts = np.full(len(is_word), _BEFORE)
        parts[ends - 1] = _AFTER
        parts[is_word] = places[different.indices.to_numpy()]
        found = lists.take(pa.array(parts))
        of_texts = found.offsets.take(pa.array(np.append(0, ends)))
        return pa.ListArray.from_arrays(of_texts, found.values)


def words_of(rust: Any) -> Words | None:
    """Return the words of a tokenizer; None where it is not known to make tokens word by word.

    Args:
        rust: A `tokenizers.Tokenizer`.
    """
    breaks, special = word_breaks(rust), _special_ids(rust)
    return Words(rust, breaks, *special) if breaks and special else None


def _special_ids(rust: Any) -> tuple[list[int], list[int]] | None:
    """Return the special tokens before and behind the tokens of a text; None where unclear."""
    rust.no_truncation()
    bare, full = (rust.encode("a", add_special_tokens=special).ids for special in (False, True))
    starts = range(len(full) - len(bare) + 1)
    places = [start for start in starts if full[start : start + len(bare)] == bare]
    if len(places) != 1 or not bare:
        return None
    return full[: places[0]], full[places[0] + len(bare) :]
