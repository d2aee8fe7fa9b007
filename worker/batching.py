"""Batches within a token budget. Pure: decides, runs nothing.

Rows are sorted by length, so that a batch holds rows of like length and little padding. The
longest come first: the largest batch a job will ever see is met at once, not after hours.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def token_budget_batches(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Return row indices in batches, longest rows first.

    Every row is in exactly one batch. Padded tokens of a batch, that is its longest length times
    its rows, are at most `budget` unless it holds a single row. Equal lengths keep their order.

    Args:
        lengths: Tokens of each row [rows].
        budget: Most padded tokens in a batch.
    """
    order = np.argsort(-lengths, kind="stable")
    return list(_cut(order, lengths, budget))


def _cut(
    order: NDArray[np.int64], lengths: NDArray[np.int64], budget: int
) -> Iterator[NDArray[np.int64]]:
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        rows = max(budget // longest, 1)
        yield order[start : start + rows]
        start += rows
