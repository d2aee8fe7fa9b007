"""Ragged token ids into one rectangle of ids and its mask. Pure numpy."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray


def pad(
    rows: Sequence[NDArray[np.int32]], *, pad_id: int, side: Literal["right", "left"]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask [rows, longest]; the mask is 1 on tokens and 0 on padding."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        ids[i, place] = row
        mask[i, place] = 1
    return ids, mask


def unused_id(rows: Sequence[NDArray[np.int32]], vocabulary: int) -> int | None:
    """Return the largest token id below `vocabulary` that no row holds, or None.

    For models that tell padding by its id alone: an id that a row holds too would make them take
    that row's own tokens for padding.
    """
    free = np.ones(vocabulary, dtype=np.bool_)
    for row in rows:
        free[row] = False
    unused = np.flatnonzero(free)
    return int(unused[-1]) if unused.size else None
