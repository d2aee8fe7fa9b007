"""What a tokenizer makes of texts: passages of token ids."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of texts, in their order, each in one passage or more.

    Attributes:
        ids: int32 [tokens] for each passage, text by text, special tokens included; empty where
            it failed.
        passages: int64 [texts], passages of each text, at least 1.
        truncated: bool [texts], True where tokens were cut off.
        failed: bool [texts], True where the tokenizer failed or made no token at all.
    """

    ids: list[Ids]
    passages: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def take(self, texts: NDArray[np.int64]) -> "Encoded":
        """Return the texts at these places, in the order given."""
        stops = np.cumsum(self.passages)
        starts = stops - self.passages
        return Encoded(
            ids=[row for text in texts for row in self.ids[starts[text] : stops[text]]],
            passages=self.passages[texts],
            truncated=self.truncated[texts],
            failed=self.failed[texts],
        )

    def tokens(self) -> NDArray[np.int32]:
        """Return the tokens of each text [texts], those of all its passages together."""
        lengths = np.array([len(row) for row in self.ids], dtype=np.int32)
        return np.add.reduceat(lengths, np.cumsum(self.passages) - self.passages)
