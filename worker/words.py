"""Token ids of texts, put together from those of their words: each new word is tokenized once.

A corpus has few different words for its size. After some thousand texts nine of ten were there
before, and to look one up takes a small part of the time of tokenizing it. What a word is, and why
its ids are the same alone as within a text: `worker.boundaries`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.boundaries import WordBreaks, word_breaks
from worker.encoded import Ids
from worker.lexicon import Lexicon
from worker.word_split import split

# Places in the lexicon of the special tokens before and behind a text.
_BEFORE, _AFTER = range(2)


class Words:
    """The texts that a tokenizer is given, by their words. Threads may share it.

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
        self, texts: Sequence[str], room: int, side: str
    ) -> tuple[list[Ids], NDArray[np.bool_]]:
        """Return the ids of each text, special tokens included, and whether some were left out.

        Args:
            texts: The texts.
            room: Most ids of a text that are kept, special tokens apart.
            side: "right" to keep the first ids of a text, "left" to keep the last.

        Raises:
            UnicodeEncodeError: A text holds half a surrogate pair.
        """
        ids, offsets = self._ids_of(texts)
        found = [ids[begin:end] for begin, end in pairwise(offsets.tolist())]
        cut = np.diff(offsets) > self._before + room + self._after
        for text in np.flatnonzero(cut).tolist():
            found[text] = self._cut(found[text], room, side)
        return found, cut

    def _cut(self, ids: Ids, room: int, side: str) -> Ids:
        """Return the special tokens of a text, and the ids at one side of what is between."""
        end = len(ids) - self._after
        begin = self._before if side == "right" else end - room
        return np.concatenate([ids[: self._before], ids[begin : begin + room], ids[end:]])

    def _ids_of(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int32]]:
        """Return the ids of all texts, one after the other, and where each begins, and the end."""
        words, counts = split(pa.array(texts, pa.large_string()), self._breaks)
        different = words.dictionary_encode()
        lists, places = self._lexicon.look_up(different.dictionary)
        ends = np.cumsum(counts + 2)
        is_word = np.ones(ends[-1], dtype=np.bool_)
        is_word[ends - 1] = is_word[ends - counts - 2] = False
        parts = np.full(len(is_word), _BEFORE)
        parts[ends - 1] = _AFTER
        parts[is_word] = places[different.indices.to_numpy()]
        found = lists.take(pa.array(parts))
        return found.values.to_numpy(), found.offsets.to_numpy()[np.append(0, ends)]


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
