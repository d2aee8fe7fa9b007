"""The documents: a sample of real texts where there are any, else made-up ones as long."""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worker.tokenizer import Tokenizer

# Where labelled texts and a corpus lie; they are not part of the repository.
VARIABLE = "BULKSCORE_TEST_DATA"
REPOSITORY = Path(__file__).resolve().parents[2]
TEST_DATA = Path(os.environ.get(VARIABLE) or REPOSITORY.parent / "shared" / "data")
CORPUS = TEST_DATA / "corpus" / "corpus.parquet"

CALIBRATION_DOCUMENTS = 300
# Tokens of made-up documents by their share, short to long: headlines, reviews and articles,
# 118 on average, 6 % longer than a model reads.
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.94, 1.0)
TOKENS = (5, 14, 25, 47, 105, 388, 512, 700)
WORDS = ("the", "film", "was", "a", "long", "and", "moving", "tale", "of", "people", "who", "met")


class Sample(NamedTuple):
    """Documents to score, others to calibrate on, and where they are from."""

    texts: list[str]
    others: list[str]
    source: str


def sample(documents: int, path: Path, tokenizer: Tokenizer) -> Sample:
    """Return so many documents of the corpus at `path`, or made-up ones where there is none.

    The sample is spread evenly over the lengths of the corpus, so that a small one is as long as
    a large one, and shuffled.
    """
    wanted = documents + CALIBRATION_DOCUMENTS
    if path.is_file():
        texts: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
        source = f"{path.name}, {len(texts):,} documents"
    else:
        texts, source = made_up(8 * wanted), "made-up documents"
    if len(texts) < wanted:
        raise SystemExit(f"{path} has {len(texts)} documents, {wanted} are wanted")
    lengths = np.array([len(ids) for ids in tokenizer.encode(texts).ids])
    chosen = spread(lengths, documents)
    others = random.Random(1).sample(sorted(set(range(len(texts))) - set(chosen)), wanted)
    return Sample(
        texts=[texts[i] for i in chosen],
        others=[texts[i] for i in others[:CALIBRATION_DOCUMENTS]],
        source=source,
    )


def spread(lengths: NDArray[np.int64], count: int) -> list[int]:
    """Return `count` indices whose lengths are spread as all lengths are, in random order."""
    order = np.argsort(lengths, kind="stable")
    middles = (np.arange(count) + 0.5) * len(lengths) / count
    chosen: list[int] = order[middles.astype(np.int64)].tolist()
    random.Random(0).shuffle(chosen)
    return chosen


def made_up(count: int) -> list[str]:
    """Return so many documents of common words, each of them a token."""
    chance = random.Random(0)
    lengths = np.interp(np.random.default_rng(0).random(count), SHARES, TOKENS)
    return [" ".join(chance.choices(WORDS, k=max(1, round(n) - 2))) for n in lengths]


def lengths_of(texts: Sequence[str], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return tokens [documents], special ones included, cut where the tokenizer cuts."""
    return np.array([len(ids) for ids in tokenizer.encode(texts).ids], dtype=np.int64)
