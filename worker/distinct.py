"""Finds what is there more than once, so that it is worked on once."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Distinct:
    """The kinds in a sequence of items, in the order in which they first come.

    Attributes:
        firsts: Place of the first item of each kind, rising.
        kinds: int64 [items], which kind each item is of.
    """

    firsts: list[int]
    kinds: NDArray[np.int64]


def distinct(items: Iterable[Hashable]) -> Distinct:
    """Return which of `items` are equal."""
    known: dict[Hashable, int] = {}
    firsts: list[int] = []
    kinds: list[int] = []
    for place, item in enumerate(items):
        kind = known.setdefault(item, len(known))
        if kind == len(firsts):
            firsts.append(place)
        kinds.append(kind)
    return Distinct(firsts, np.array(kinds, dtype=np.int64))
