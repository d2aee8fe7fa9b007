"""Rows of token ids laid end to end as one row of tokens, and where each begins. Pure numpy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ragged:
    """Rows without padding.

    Attributes:
        ids: int64 [tokens], the ids of all rows.
        positions: int64 [tokens], counted from 0 in each row.
        offsets: int64 [rows + 1], place of each row's first token, and the end.
        runs: The rows by length, in order.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    runs: tuple[Run, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(run.length for run in self.runs)


def ragged(rows: Rows) -> Ragged:
    """Lay rows end to end; sorted by length they make the fewest runs."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.concatenate(rows).astype(np.int64)
    return Ragged(
        ids=ids,
        positions=np.arange(len(ids)) - np.repeat(offsets[:-1], lengths),
        offsets=offsets,
        runs=tuple(_runs(lengths, offsets)),
    )


def _runs(lengths: NDArray[np.int64], offsets: NDArray[np.int64]) -> Iterator[Run]:
    borders = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    for first, end in pairwise(borders):
        yield Run(start=int(offsets[first]), rows=end - first, length=int(lengths[first]))
