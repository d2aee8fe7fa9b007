"""The texts that benchmarks score."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

import pyarrow.parquet as pq

# Words of a made-up document, short to long as in mixed corpora; used where no corpus is given.
LENGTHS = (8, 12, 18, 25, 35, 60, 120, 400)
WORDS = ("the", "film", "was", "a", "long", "and", "moving", "tale", "of", "people", "who", "met")


def texts_of(corpus: Path | None, documents: int) -> list[str]:
    """Return a seeded sample of a corpus, as many as it has at most, or made-up documents."""
    chance = random.Random(0)
    if corpus is not None:
        found: list[str] = pq.read_table(corpus, columns=["text"])["text"].to_pylist()
        return chance.sample(found, min(documents, len(found)))
    return [" ".join(chance.choices(WORDS, k=LENGTHS[i % len(LENGTHS)])) for i in range(documents)]


def words_met_once(texts: Sequence[str]) -> frozenset[str]:
    """Return the words that come once in all of `texts`."""
    counts = Counter(word for text in texts for word in text.split(" "))
    return frozenset(word for word, count in counts.items() if count == 1)


def with_new_words(text: str, words: frozenset[str], turn: int) -> str:
    """Return `text` with other letters in some words: the same in a turn, others in the next."""
    shift = turn % len(ascii_lowercase)
    letters = ascii_lowercase[shift:] + ascii_lowercase[:shift]
    table = str.maketrans(ascii_lowercase, letters)
    return " ".join(word.translate(table) if word in words else word for word in text.split(" "))
