"""A model of one token a word, whose scores a test can work out by itself. Loads no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.job import LongText, ModelPin, ProblemType
from worker.encoded import Encoded, lists_of
from worker.engine import BetweenBatches
from worker.models import LoadedModel
from worker.tokenizer import Tokenizer

LABELS = ("negative", "neutral", "positive")
MAX_WORDS = 12
REFUSED = "unspeakable"  # a text with this word fails
BATCH_ROWS = 16


class WordTokenizer:
    """Gives each word its length as its id, and cuts after `MAX_WORDS` words."""

    fingerprint = b"words"
    unknown_id = 4  # words of four letters

    def encode(self, texts: Sequence[str] | pa.Array, _long_text: LongText = "truncate") -> Encoded:
        """Return the ids of `texts`, each in one passage."""
        words = [[] if REFUSED in text else text.split() for text in map(str, texts)]
        ids = [np.array([len(word) for word in row[:MAX_WORDS]], np.int32) for row in words]
        return Encoded(
            rows=lists_of(ids),
            passages=np.ones(len(ids), np.int64),
            truncated=np.array([len(row) > MAX_WORDS for row in words], np.bool_),
            failed=np.array([row.size == 0 for row in ids], np.bool_),
        )


@dataclass
class WordEngine:
    """Scores a row by its first word and its length alone, in batches.

    Attributes:
        label_count: Logits per row.
        before_batch: Called with the number of the batch, counted over all calls; may raise.
    """

    label_count: int = len(LABELS)
    before_batch: Callable[[int], None] = lambda _number: None
    device: str = "cpu"
    dtype: str = "fp32"
    token_budget: int = BATCH_ROWS * MAX_WORDS
    batches: int = 0

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        """Return the logits of rows; a first word of 13 letters makes them infinite."""
        tokens = 0
        for start in range(0, len(token_ids), BATCH_ROWS):
            self.before_batch(self.batches)
            self.batches += 1
            tokens += sum(len(ids) for ids in token_ids[start : start + BATCH_ROWS])
            if between is not None:
                between(tokens)
        rows = [word_logits(int(ids[0]), len(ids), self.label_count) for ids in token_ids]
        return np.array(rows, np.float32).reshape(-1, self.label_count)


def word_logits(first_word_letters: int, words: int, labels: int = len(LABELS)) -> list[float]:
    """Return the logits of a text of so many words whose first has so many letters."""
    if first_word_letters == 13:
        return [float("inf")] * labels
    return [float((first_word_letters * (n + 3) + words) % 7 - 3) for n in range(labels)]


def word_model(
    problem_type: ProblemType = "single_label_classification",
    labels: tuple[str, ...] = LABELS,
    **engine: Any,
) -> LoadedModel:
    """Return the model, ready to score; further options are those of `WordEngine`."""
    pin = ModelPin(
        ref="words",
        name="words",
        uri="/words",
        digest="0" * 64,
        files=(),
        model_type="bert",
        problem_type=problem_type,
        labels=labels,
        max_length=MAX_WORDS,
    )
    return LoadedModel(
        pin=pin,
        tokenizer=cast("Tokenizer", WordTokenizer()),
        engine=WordEngine(**{"label_count": len(labels), **engine}),
        max_length=MAX_WORDS,
        libraries={"words": "1"},
    )
