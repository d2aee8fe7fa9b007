"""Batches within a token budget. Pure: decides, runs nothing.

Rows are sorted by length, so that a batch holds rows of like length. The longest come first: the
largest batch a job will ever see is met at once, not after hours.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def token_budget_batches(
    lengths: NDArray[np.int64], budget: int, *, padded: bool
) -> list[NDArray[np.int64]]:
    """Return row indices in batches, longest rows first.

    Every row is in exactly one batch. A batch takes at most `budget` tokens unless it holds a
    single row. Batches are about equal in size: small ones take nearly as long as full ones, and
    memory given back by one batch fits the next. Equal lengths keep their order.

    Args:
        lengths: Tokens of each row [rows].
        budget: Most tokens in a batch.
        padded: Whether every row of a batch takes as many tokens as its longest.
    """
    order = np.argsort(-lengths, kind="stable")
    return [order[part] for part in _parts(np.maximum(lengths[order], 1), budget, padded)]


def _parts(sizes: NDArray[np.int64], budget: int, padded: bool) -> Iterator[slice]:
    """Yield the rows of each batch: its share of the tokens left, to the nearest row.

    Args:
        sizes: Tokens of the rows in their order [rows], at least 1.
        budget: Most tokens in a batch.
        padded: As in `token_budget_batches`.
    """
    ends = np.cumsum(sizes)
    middles = ends - sizes / 2
    start = taken = 0
    while start < len(sizes):
        left = int(ends[-1]) - taken
        share = left / -(-left // budget)
        if padded:
            fit = start + budget // int(sizes[start])
        else:
            fit = int(np.searchsorted(ends, taken + budget, side="right"))
        end = min(int(np.searchsorted(middles, taken + share)), fit)
        part = slice(start, max(end, start + 1))
        yield part
        start = part.stop
        taken = int(ends[start - 1])
