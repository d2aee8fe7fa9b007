"""The pipeline of transformers, as its guide calls it."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.speed.corpus import lengths_of
from benchmarks.speed.scored import Scored, Scorer
from benchmarks.speed.setup import MAX_LENGTH, Setup
from worker.tokenizer import Tokenizer


def loader(batch_rows: int, *, in_order_of_length: bool = False) -> Callable[[Setup], Scorer]:
    """Return what loads a pipeline with a batch size.

    Args:
        batch_rows: Its `batch_size`.
        in_order_of_length: Whether the texts are put in order before, longest first, by tokens.
    """

    def load(setup: Setup) -> Scorer:
        from transformers import pipeline

        classify = pipeline("text-classification", model=str(setup.model), device="cpu")
        number = classify.model.config.label2id
        order = np.arange(len(setup.texts), dtype=np.int64)
        if in_order_of_length:
            tokenizer = Tokenizer(setup.model, MAX_LENGTH)
            order = np.argsort(-lengths_of(setup.texts, tokenizer), kind="stable")

        def score(texts: Sequence[str]) -> Scored:
            places = order if len(texts) == len(order) else np.arange(len(texts))
            found = classify(
                [texts[int(i)] for i in places],
                batch_size=batch_rows,
                truncation=True,
                max_length=MAX_LENGTH,
            )
            labels = np.empty(len(texts), dtype=np.int64)
            scores = np.empty(len(texts), dtype=np.float32)
            labels[places] = [number[row["label"]] for row in found]
            scores[places] = [row["score"] for row in found]
            return Scored(labels, scores)

        return score

    return load
