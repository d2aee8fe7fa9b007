"""How far two sets of labels agree: shares with their interval, and agreement beyond chance."""

import math
from collections.abc import Mapping

from schemas.job import Record

# Two-sided 95 % quantile of the normal distribution.
Z_95 = 1.959964


class Share(Record):
    """A share with its 95 % interval; None where there is nothing to have a share of."""

    count: int
    of: int
    share: float | None
    low: float | None
    high: float | None


def share_of(count: int, of: int) -> Share:
    """Return `count / of` with the interval of Wilson.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209; https://doi.org/10.1080/01621459.1927.10502953
    """
    if not of:
        return Share(count=count, of=of, share=None, low=None, high=None)
    share, z2 = count / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Share(count=count, of=of, share=share, low=low, high=high)


def cohen_kappa(moves: Mapping[tuple[str, str], int]) -> float | None:
    """Return the agreement beyond what the frequencies of the labels give by chance.

    None where one label is all that both have, or there is no row. J. Cohen, Educ. Psychol. Meas.
    20 (1960), 37; https://doi.org/10.1177/001316446002000104

    Args:
        moves: Rows by their label on either side.
    """
    total = sum(moves.values())
    labels = {label for pair in moves for label in pair}
    if not total or len(labels) < 2:
        return None
    observed = sum(moves.get((label, label), 0) for label in labels) / total
    left, right = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    for (before, after), rows in moves.items():
        left[before] += rows
        right[after] += rows
    by_chance = sum(left[label] * right[label] for label in labels) / total**2
    return (observed - by_chance) / (1 - by_chance)
