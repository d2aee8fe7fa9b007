"""From texts to token ids: the Rust tokenizer's batch call, and rows it chokes on set aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of texts, in their order.

    Attributes:
        ids: int32 [tokens] for each text, special tokens included; empty where it failed.
        truncated: bool [texts], True where tokens were cut off.
        failed: bool [texts], True where the tokenizer failed or made no token at all.
    """

    ids: list[NDArray[np.int32]]
    truncated: NDArray[np.bool_]
    failed: NDArray[np.bool_]


class Tokenizer:
    """The tokenizer of the model in folder `path`, cutting texts at `max_length` tokens."""

    def __init__(self, path: Path, max_length: int, *, parallel: bool = True) -> None:
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return the token ids of `texts`; never raises because of a text."""
        raise NotImplementedError
