"""The texts that benchmarks score."""

import random
from pathlib import Path

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
