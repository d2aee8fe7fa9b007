"""Finds what is there more than once, so that it is worked on once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Distinct:
    """The kinds in a sequence of items, in the order in which they first come.

    Attributes:
        firsts: int64 [kinds], place of the first item of each kind, rising.
        kinds: int64 [items], which kind each item is of.
    """

    firsts: NDArray[np.int64]
    kinds: NDArray[np.int64]


def distinct(items: pa.Array) -> Distinct:
    """Return which of `items`, strings or bytes without nulls, are equal."""
    kinds = items.dictionary_encode().indices.to_numpy().astype(np.int64)
    # Arrow numbers the kinds as they come.
    firsts = np.flatnonzero(np.diff(np.maximum.accumulate(kinds), prepend=-1))
    return Distinct(firsts, kinds)
