"""Whether something grows: the slope of samples over time, with an interval, and a verdict.

Neighbouring samples resemble each other, which makes the usual interval of a regression too
narrow. So the samples are averaged in blocks of some minutes first, and the line is drawn through
those (batch means, Conway 1963).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

BLOCKS = 10
CONFIDENCE = 0.95
# Growth of less than this share of what is held is none that anybody would notice in a day.
NOTICEABLE_AN_HOUR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How much is held, and by how much that rises in an hour, with a 95 % interval."""

    mean: float
    an_hour: float
    low: float
    high: float

    @property
    def leaks(self) -> bool:
        """Whether it surely rises, and by an amount that matters."""
        return self.low > 0 and self.an_hour > NOTICEABLE_AN_HOUR * self.mean

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if math.isnan(self.an_hour):
            return "too few samples"
        return "grows" if self.leaks else "flat"


def trend(seconds: Sequence[float], amounts: Sequence[float]) -> Trend:
    """Return the trend of amounts over time; not a number where there are too few samples."""
    if len(amounts) < 2 * BLOCKS:
        mean = float(np.mean(amounts)) if len(amounts) else math.nan
        return Trend(mean=mean, an_hour=math.nan, low=math.nan, high=math.nan)
    hours = [float(np.mean(block)) / 3_600 for block in np.array_split(seconds, BLOCKS)]
    means = [float(np.mean(block)) for block in np.array_split(amounts, BLOCKS)]
    line = stats.linregress(hours, means)
    margin = float(line.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, BLOCKS - 2))
    slope = float(line.slope)
    return Trend(
        mean=float(np.mean(amounts)), an_hour=slope, low=slope - margin, high=slope + margin
    )
