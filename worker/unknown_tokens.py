"""Counts tokens that stand for what a tokenizer has no word for, over the rows that are scored."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.job import Manifest
from schemas.results import ResultAccount
from worker.encoded import Encoded, flat_ids
from worker.models import LoadedModel
from worker.result_rows import TokenizedWindow


class UnknownTokens:
    """Counts them for one result, by model.

    Args:
        manifest: The job.
        models: Its models, loaded.
    """

    def __init__(self, manifest: Manifest, models: Sequence[LoadedModel]) -> None:
        self._suffixes = manifest.spec.suffixes
        self._ids = [model.tokenizer.unknown_id for model in models]
        self._counts = [0] * len(models)

    def add(self, window: TokenizedWindow, rows: pa.Table) -> None:
        """Take a window and the rows of the result that were made of it."""
        for place, (suffix, unknown, texts) in enumerate(
            zip(self._suffixes, self._ids, window.texts, strict=True)
        ):
            if unknown is not None and len(texts.places):
                lengths = rows.column(f"n_tokens{suffix}").take(pa.array(texts.places)).to_numpy()
                self._counts[place] += _count(texts.encoded, unknown, lengths > 0)

    def entered(self, account: ResultAccount) -> ResultAccount:
        """Return the account with the counts."""
        models = tuple(
            model.model_copy(update={"unknown_tokens": count})
            for model, count in zip(account.models, self._counts, strict=False)
        )
        return account.model_copy(update={"unknown_tokens": sum(self._counts), "models": models})


def _count(encoded: Encoded, unknown: int, scored: NDArray[np.bool_]) -> int:
    """Return how many there are in the texts that are scored [texts]."""
    found = flat_ids(encoded.rows) == unknown
    if not found.any():
        return 0
    lengths = encoded.tokens()
    by_text = np.add.reduceat(found, np.cumsum(lengths) - lengths, dtype=np.int64)
    return int(by_text[scored].sum())
