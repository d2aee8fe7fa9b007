"""Whether something grows: the slope of samples over time, with an interval, and a verdict.

Neighbouring samples resemble each other, which makes the usual interval of a regression too
narrow. So the samples are averaged in blocks of some minutes first, and the line is drawn through
those (batch means, Conway 1963). A leak goes on: what rose once, as a pool of connections does at
its first use, does not rise in the later half as well.
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
    def rises(self) -> bool:
        """Whether it surely rises, and by an amount that matters."""
        return self.low > 0 and self.an_hour > NOTICEABLE_AN_HOUR * self.mean


def verdict(seconds: Sequence[float], amounts: Sequence[float]) -> str:
    """Say in a word or two whether amounts grow over time, in the later half as well."""
    half = len(amounts) // 2
    whole, later = trend(seconds, amounts), trend(seconds[half:], amounts[half:])
    if math.isnan(later.an_hour):
        return "too few samples"
    if not whole.rises:
        return "flat"
    return "grows" if later.rises else "rose once"


def trend(seconds: Sequence[float], amounts: Sequence[float]) -> Trend:
    """Return the trend of amounts over time; not a number where there are too few samples."""
    if len(amounts) < 2 * BLOCKS:
        mean = float(np.mean(amounts)) if len(amounts) else math.nan
        return Trend(mean=mean, an_hour=math.nan, low=math.nan, high=math.nan)
    hours = [float(np.mean(block)) / 3_600 for block in np.array_split(seconds, BLOCKS)]
    means = [float(np.mean(block)) for block in np.array_split(amounts, BLOCKS)]
    if min(means) == max(means):
        return Trend(mean=means[0], an_hour=0.0, low=0.0, high=0.0)
    line = stats.linregress(hours, means)
    margin = float(line.stderr * stats.t.ppf((1 + CONFIDENCE) / 2, BLOCKS - 2))
    slope = float(line.slope)
    return Trend(
        mean=float(np.mean(amounts)), an_hour=slope, low=slope - margin, high=slope + margin
    )
