"""Which token budget an engine is fastest with: a few are tried on the same rows.

The rows have the lengths of a mixed corpus (log-normal: half below 47 tokens, a tenth above 388,
cut at what the model reads), the same ones each time; their ids are those of texts at hand. Of a
window of such rows a few bands of neighbours are taken, so that a batch holds rows of like length
as it does in a real window.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.engine.ragged import Rows

# Budgets that are tried. Beyond these a CPU's caches are too small, and a GPU has long been busy.
CANDIDATES: Mapping[str, tuple[int, ...]] = {
    "cpu": (1_024, 2_048, 4_096, 8_192),
    "cuda": (8_192, 16_384, 32_768, 65_536, 131_072, 262_144),
}
# Each budget is tried so often, and its best time counts: other programs only ever slow it down.
ROUNDS = 3
# A smaller budget is chosen when it is this good: it takes less memory, and a batch less time.
GOOD_ENOUGH = 0.97
# Of the memory that is free; the rest is for what allocators round up and leave unused.
USABLE_MEMORY = 0.8

_MEDIAN_TOKENS, _SPREAD = 47, 1.65
_SHORTEST = 3
_WINDOW_ROWS = 4_096
_BANDS = 4


class Tunable(Protocol):
    """An engine whose token budget can be set; it sets a smaller one when that does not fit."""

    token_budget: int

    def forward(self, token_ids: Rows) -> NDArray[np.float32]:
        """Score rows; see `worker.engine.Engine`."""


def typical_lengths(longest: int) -> NDArray[np.int64]:
    """Return the tokens of the rows of a window [rows], the longest first."""
    places = (np.arange(_WINDOW_ROWS, 0, -1) - 0.5) / _WINDOW_ROWS
    deviations = np.array([NormalDist().inv_cdf(place) for place in places])
    lengths = np.rint(_MEDIAN_TOKENS * np.exp(_SPREAD * deviations)).astype(np.int64)
    clipped: NDArray[np.int64] = np.clip(lengths, min(_SHORTEST, longest), longest)
    return clipped


def typical_rows(tokens: int, longest: int, ids: NDArray[np.int32]) -> Rows:
    """Return rows with together about so many tokens: bands out of a typical window.

    Args:
        tokens: How many; a row in each band goes beyond.
        longest: Most tokens of a row.
        ids: Ids to take, again and again when there are too few [any number].
    """
    lengths = typical_lengths(longest)
    ends = np.cumsum(lengths)
    taken: list[int] = []
    for band in range(_BANDS):
        first = int(np.searchsorted(ends, ends[-1] * (band + 0.5) / _BANDS))
        before = ends[first] - lengths[first]
        last = int(np.searchsorted(ends, before + tokens / _BANDS))
        taken += lengths[first : last + 1].tolist()
    return rows_of(taken, ids)


def rows_of(lengths: Sequence[int], ids: NDArray[np.int32]) -> Rows:
    """Return rows of these lengths, filled with `ids` from the first on."""
    filled = np.resize(ids, sum(lengths))
    return np.split(filled, np.cumsum(lengths)[:-1])


def measure(
    engine: Tunable,
    budgets: Sequence[int],
    rows: Rows,
    *,
    pause: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Return the tokens per second with each budget that fits the memory.

    The engine is left with any of the budgets.

    Args:
        engine: What scores.
        budgets: Budgets to try, rising.
        rows: What is scored with each.
        pause: Called before each measurement; what it raises ends all of it.
        clock: Seconds that pass.
    """
    tokens = sum(map(len, rows))
    best: dict[int, float] = {}
    for budget in [*budgets] * ROUNDS:
        pause()
        engine.token_budget = budget
        started = clock()
        engine.forward(rows)
        seconds = clock() - started
        if engine.token_budget == budget:
            best[budget] = max(best.get(budget, 0.0), tokens / seconds)
    return best


def choose(rates: Mapping[int, float]) -> int:
    """Return the smallest budget that is about as good as the best.

    Args:
        rates: Tokens per second by budget, at least one.
    """
    enough = GOOD_ENOUGH * max(rates.values())
    return min(budget for budget, rate in rates.items() if rate >= enough)


def bytes_per_token(small: tuple[int, int], large: tuple[int, int]) -> float:
    """Return what one more token takes; what any batch takes, such as workspaces, falls away.

    Args:
        small: Tokens and peak memory of a batch, in bytes.
        large: The same of a batch of more rows of the same length.
    """
    return max(large[1] - small[1], 0) / (large[0] - small[0])


def most_tokens(token_bytes: float, free_bytes: int) -> int:
    """Return how many tokens a batch may have, 1 at least, when each takes `token_bytes`."""
    return max(int(free_bytes * USABLE_MEMORY / max(token_bytes, 1.0)), 1)
