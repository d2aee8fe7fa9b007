"""Token ids of texts, put together from those of their words: each new word is tokenized once.

A corpus has few different words for its size. After some thousand texts nine of ten were there
before, and to look one up takes a small part of the time of tokenizing it. What a word is, and why
its ids are the same alone as within a text: `worker.boundaries`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.boundaries import WordBreaks, word_breaks
from worker.encoded import Ids
from worker.word_split import split

# Characters of the words that are remembered, some 80 MB with their ids: 400,000 words of English.
# When there are more, those that were not met again since the last time are forgotten.
REMEMBERED_CHARACTERS = 4 << 20
_UNKNOWN = -1


class Words:
    """The words that a tokenizer has met, and their ids.

    Args:
        rust: A `tokenizers.Tokenizer`.
        breaks: Where words begin.
        before: Ids of the special tokens before those of a text.
        after: And behind them.
    """

    def __init__(self, rust: Any, breaks: WordBreaks, before: list[int], after: list[int]) -> None:
        self._before = before
        self._after = after
        self._rust = rust
        self._breaks = breaks
        self._known = _known([], np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))

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
        ids, stops = self._ids_of(texts)
        lengths = np.diff(stops, prepend=0)
        kept = np.minimum(lengths, room)
        ends = np.cumsum(kept + len(self._before) + len(self._after))
        begins = np.concatenate([[0], ends[:-1]])
        found = np.empty(ends[-1], dtype=np.int32)
        for number, special in enumerate(self._before):
            found[begins + number] = special
        for number, special in enumerate(self._after):
            found[ends - len(self._after) + number] = special
        first = stops - lengths if side == "right" else stops - kept
        found[_runs(begins + len(self._before), kept)] = ids[_runs(first, kept)]
        cuts = zip(begins.tolist(), ends.tolist(), strict=True)
        return [found[begin:end] for begin, end in cuts], lengths > room

    def _ids_of(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """Return the ids of all texts, one after the other, and where each text stops."""
        words, counts = split(pa.array(texts, pa.large_string()), self._breaks)
        different = words.dictionary_encode()
        places = self._learnt(different.dictionary.to_pylist())[different.indices.to_numpy()]
        known = self._known
        lengths = known.lengths[places]
        starts = np.cumsum(known.lengths) - known.lengths
        stops = np.cumsum(lengths)[np.cumsum(counts) - 1]
        return known.ids[_runs(starts[places], lengths)], stops

    def _learnt(self, words: list[str]) -> NDArray[np.int64]:
        """Return the place of each of some different words, all of them known from now on."""
        if self._known.characters > REMEMBERED_CHARACTERS:
            self._known = _met_again(self._known)
        place = self._known.places.get
        places = np.array([place(word, _UNKNOWN) for word in words], dtype=np.int64)
        self._known.met_again[places[places != _UNKNOWN]] = True
        new = np.flatnonzero(places == _UNKNOWN)
        if len(new):
            places[new] = len(self._known.lengths) + np.arange(len(new))
            self._learn([words[number] for number in new])
        return places

    def _learn(self, words: list[str]) -> None:
        self._rust.no_truncation()
        encoded = self._rust.encode_batch_fast(words, add_special_tokens=False)
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        each = chain.from_iterable(encoding.ids for encoding in encoded)
        ids = np.fromiter(each, np.int32, int(lengths.sum()))
        old = self._known
        # First the ids, then where they lie: a signal in between leaves ids that nobody asks for.
        self._known = _Known(
            places=old.places,
            ids=np.concatenate([old.ids, ids]),
            lengths=np.concatenate([old.lengths, lengths]),
            met_again=np.concatenate([old.met_again, np.zeros(len(words), dtype=np.bool_)]),
            characters=old.characters + sum(map(len, words)),
        )
        old.places.update({word: place for place, word in enumerate(words, len(old.lengths))})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Words, each at its place in the arrays, and their ids one word after the other.

    Attributes:
        places: The place of each word.
        ids: int32 [tokens of all words].
        lengths: int64 [words], how many ids each has.
        met_again: bool [words], whether it came again after it was learnt.
        characters: Of all words.
    """

    places: dict[str, int]
    ids: Ids
    lengths: NDArray[np.int64]
    met_again: NDArray[np.bool_]
    characters: int


def _known(words: list[str], ids: Ids, lengths: NDArray[np.int64]) -> _Known:
    return _Known(
        places={word: place for place, word in enumerate(words)},
        ids=ids,
        lengths=lengths,
        met_again=np.zeros(len(words), dtype=np.bool_),
        characters=sum(map(len, words)),
    )


def _met_again(known: _Known) -> _Known:
    """Return the words that were met again since the last time; none where these are most."""
    kept = known.met_again
    words = [word for word, place in known.places.items() if kept[place]]
    if sum(map(len, words)) > REMEMBERED_CHARACTERS // 2:
        words, kept = [], np.zeros_like(kept)
    return _known(words, known.ids[np.repeat(kept, known.lengths)], known.lengths[kept])


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


def _runs(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of runs of items, one run after the other."""
    stops = np.cumsum(lengths)
    return np.repeat(starts - (stops - lengths), lengths) + np.arange(stops[-1])
