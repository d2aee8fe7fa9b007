"""Rows of token ids laid end to end as one row of tokens, and where each begins. Pure numpy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of equal length that follow each other.

    Attributes:
        start: Place of their first token.
        rows: How many there are.
        length: Tokens of each.
    """

    start: int
    rows: int
    length: int

    @property
    def tokens(self) -> slice:
        """The places of their tokens."""
        return slice(self.start, self.start + self.rows * self.length)


@dataclass(frozen=True, kw_only=True)
class Ragged:
    """Rows without padding; all numbers lie in one array, so that one copy brings them elsewhere.

    Attributes:
        numbers: int32 [2 * tokens + rows + 1], ids, positions and offsets one after the other.
        tokens: Tokens of all rows.
    """

    numbers: NDArray[np.int32]
    tokens: int

    @property
    def ids(self) -> NDArray[np.int32]:
        """The ids of all rows [tokens]."""
        return self.numbers[: self.tokens]

    @property
    def positions(self) -> NDArray[np.int32]:
        """Where a token stands in its row [tokens]."""
        return self.numbers[self.tokens : 2 * self.tokens]

    @property
    def offsets(self) -> NDArray[np.int32]:
        """Place of each row's first token, and the end [rows + 1]."""
        return self.numbers[2 * self.tokens :]

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(np.diff(self.offsets).max())

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The rows by length, in order."""
        return tuple(_runs(self.offsets))


def ragged(rows: Rows, first_position: int = 0) -> Ragged:
    """Lay rows end to end; sorted by length they make the fewest runs.

    Args:
        rows: Ids of each row [tokens].
        first_position: The position of each row's first token.
    """
    lengths = np.array([len(row) for row in rows])
    tokens = int(lengths.sum())
    batch = Ragged(numbers=np.empty(2 * tokens + len(rows) + 1, dtype=np.int32), tokens=tokens)
    np.concatenate(rows, out=batch.ids)
    batch.offsets[0] = 0
    np.cumsum(lengths, out=batch.offsets[1:])
    starts = batch.offsets[:-1] - np.int32(first_position)
    np.subtract(np.arange(tokens, dtype=np.int32), np.repeat(starts, lengths), out=batch.positions)
    return batch


def _runs(offsets: NDArray[np.int32]) -> Iterator[Run]:
    lengths = np.diff(offsets)
    borders = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    for first, end in pairwise(borders):
        yield Run(start=int(offsets[first]), rows=end - first, length=int(lengths[first]))
