"""What a contender gives for each text, and the batches that some of them are given."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.setup import MAX_LENGTH, TOKEN_BUDGET, Setup
from worker.batching import token_budget_batches
from worker.engine.padding import pad
from worker.tokenizer import Tokenizer


class Scored(NamedTuple):
    """The label of each text by its number [documents], and that label's score."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


Scorer = Callable[[Sequence[str]], Scored]
# Takes ids and mask [rows, longest], returns logits [rows, labels].
Forward = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


def scored(logits: NDArray[np.float32]) -> Scored:
    """Return what logits [documents, labels] say."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return Scored(logits.argmax(axis=1), shares.max(axis=1))


def over_batches(setup: Setup, forward: Forward) -> Scorer:
    """Return a scorer that sorts by length, fills a token budget and pads, as our engine would.

    Texts are tokenized as by our workers, which is quicker than what comes with the rivals.
    """
    tokenizer = Tokenizer(setup.model, MAX_LENGTH, threads=setup.threads)

    def score(texts: Sequence[str]) -> Scored:
        rows = tokenizer.encode(texts).ids
        found = dict(_parts(rows, forward))
        return scored(np.array([found[i] for i in range(len(rows))]))

    return score


def _parts(
    rows: Sequence[NDArray[np.int32]], forward: Forward
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    for batch in token_budget_batches(lengths, TOKEN_BUDGET, padded=True):
        ids, mask = pad([rows[i] for i in batch], pad_id=0, side="right")
        yield from zip(batch.tolist(), forward(ids, mask), strict=True)
