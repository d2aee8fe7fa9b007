"""Quantiles of any number of values in bounded memory, each to within 1 % of itself.

C. Masson, J. E. Rim, H. K. Lee: DDSketch, PVLDB 12 (2019), 2195;
https://doi.org/10.14778/3352063.3352135
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

ACCURACY = 0.01
# Values closer to zero than this are zero.
SMALLEST = 1e-9
_LOG_GAMMA = float(np.log((1 + ACCURACY) / (1 - ACCURACY)))


class Sketch:
    """Counts of values in bins whose borders grow by 2 %, mirrored for negative values.

    Bin 0 holds zeros, bin n > 0 the values from γⁿ⁻¹ to γⁿ times `SMALLEST`, bin -n their
    negatives. Sketches of different data have the same bins.
    """

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0
        self.sum = 0.0
        self.sum_absolute = 0.0

    def add(self, values: pl.Series) -> None:
        """Take finite values; nulls are passed over."""
        numbers = values.drop_nulls().to_numpy().astype(np.float64)
        if not len(numbers):
            return
        self.total += len(numbers)
        self.sum += float(numbers.sum())
        self.sum_absolute += float(np.abs(numbers).sum())
        bins, counts = np.unique(_bins_of(numbers), return_counts=True)
        for number, count in zip(bins.tolist(), counts.tolist(), strict=True):
            self.counts[number] = self.counts.get(number, 0) + count

    @property
    def mean(self) -> float | None:
        """Mean of the values, exact."""
        return self.sum / self.total if self.total else None

    @property
    def mean_absolute(self) -> float | None:
        """Mean of their magnitudes, exact."""
        return self.sum_absolute / self.total if self.total else None

    def quantile(self, share: float) -> float | None:
        """Return the value that `share` of the values are at or below."""
        rank, seen = share * (self.total - 1), 0
        for number, count in sorted(self.counts.items()):
            seen += count
            if seen > rank:
                return _value_of(number)
        return None

    def histogram(self, edges: list[float]) -> list[int]:
        """Return the counts between neighbouring edges; a bin counts where its middle lies.

        What lies beyond the outer edges counts in the outermost intervals.
        """
        counts = np.zeros(len(edges) - 1, dtype=np.int64)
        for number, count in self.counts.items():
            place = int(np.searchsorted(edges, _value_of(number), side="right")) - 1
            counts[min(max(place, 0), len(counts) - 1)] += count
        found: list[int] = counts.tolist()
        return found


def _bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    magnitudes = np.abs(values)
    zero = magnitudes < SMALLEST
    logs = np.log(np.where(zero, SMALLEST, magnitudes) / SMALLEST) / _LOG_GAMMA
    numbers = np.where(zero, 0, np.sign(values) * (np.floor(logs) + 1))
    return numbers.astype(np.int64)


def upper_border(number: int) -> float:
    """Return what no value of a bin is above."""
    if number > 0:
        return float(SMALLEST * np.exp(number * _LOG_GAMMA))
    return 0.0 if not number else -float(SMALLEST * np.exp((-number - 1) * _LOG_GAMMA))


def _value_of(number: int) -> float:
    """Return the value in the middle of a bin, at most 1 % from all that it holds."""
    if not number:
        return 0.0
    upper = float(SMALLEST * np.exp(abs(number) * _LOG_GAMMA))
    return float(np.sign(number)) * upper * (1 - ACCURACY)
