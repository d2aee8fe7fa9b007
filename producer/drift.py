"""How far a job's labels, scores, lengths and unknown tokens are from those of a reference job.

The measure is the population stability index, Σ (p - q) ln(p / q) over bins with the shares p of
the job and q of the reference. Half a row is added to each bin, so that an empty one has a
logarithm.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise

from producer.compare_side import side
from producer.compare_sketch import Sketch, upper_border
from producer.drift_profile import Profile, profile
from schemas.errors import UsageError
from schemas.job import JobId, Manifest, Record
from schemas.storage import Storage

# The rule of thumb of credit scoring: N. Siddiqi, Credit Risk Scorecards, Wiley 2006.
SOME = 0.1
LARGE = 0.25
PSEUDO_ROWS = 0.5
# Two-sided 90 % quantile of the normal distribution: 5 % lie above it.
_Z_95_ONE_SIDED = 1.644854
DECILES = 10


class Verdict(StrEnum):
    """What a stability index says by the rule of thumb."""

    NONE = "none"  # below 0.1, or no more than chance makes of so few rows
    SOME = "some"  # 0.1 to 0.25
    LARGE = "large"


class DriftBin(Record):
    """A bin and the share of the rows in it."""

    name: str
    reference: float
    share: float


class Drift(Record):
    """How far one distribution moved.

    `by_chance` is what the index stays below in 95 of 100 cases where nothing moved, by the number
    of bins and rows: χ² of one less than the bins, times 1/n + 1/m (B. Yurdakul, Statistical
    properties of population stability index, 2018,
    https://scholarworks.wmich.edu/dissertations/3208).
    """

    of: str
    psi: float
    by_chance: float
    verdict: Verdict
    bins: tuple[DriftBin, ...]


class DriftReport(Record):
    """A job beside its reference; lengths are in tokens, so that of two tokenizers they differ."""

    reference: JobId
    reference_output: str
    reference_model: str
    model: str
    same_model: bool
    reference_rows: int
    rows: int
    drifts: tuple[Drift, ...]


def drift(reference: Profile, current: Profile) -> DriftReport:
    """Compare the distributions of a job with those of its reference.

    Raises:
        UsageError: One is of a regression, the other is not.
    """
    before, after = reference.side.pin, current.side.pin
    if reference.is_regression != current.is_regression:
        raise UsageError(
            f"{before.ref} is a model for {before.problem_type}, {after.ref} one for "
            f"{after.problem_type}: drift between them cannot be told"
        )
    scores = _in_deciles(
        reference.scores, current.scores, is_uncertainty=not reference.is_regression
    )
    return DriftReport(
        reference=reference.side.manifest.job_id,
        reference_output=reference.side.manifest.spec.output,
        reference_model=before.ref,
        model=after.ref,
        same_model=before.digest == after.digest,
        reference_rows=reference.rows,
        rows=current.rows,
        drifts=(
            _of_counts("labels", reference.labels, current.labels),
            _of_counts("scores", *scores),
            _of_counts("lengths", *_in_deciles(reference.lengths, current.lengths)),
            *(
                [_of_counts("unknown tokens", reference.tokens, current.tokens)]
                if reference.tokens and current.tokens
                else []
            ),
        ),
    )


def drift_between(storage: Storage, reference: Manifest, manifest: Manifest) -> DriftReport:
    """Read the results of two jobs, by the first model of each, and tell the drift.

    Raises:
        UsageError: A job has no result yet, or their models are of different kinds.
        InputCorrupt: A result cannot be read.
    """
    return drift(profile(side(storage, reference)), profile(side(storage, manifest)))


def psi(reference: Sequence[int], current: Sequence[int]) -> float:
    """Return the stability index of counts in the same bins."""
    index = 0.0
    before, after = (
        [(count + PSEUDO_ROWS) / (sum(counts) + PSEUDO_ROWS * len(counts)) for count in counts]
        for counts in (reference, current)
    )
    for q, p in zip(before, after, strict=True):
        index += (p - q) * math.log(p / q)
    return index


def by_chance(bins: int, reference_rows: int, rows: int) -> float:
    """Return what the index stays below in 95 % of all cases where nothing moved.

    The quantile of χ² is that of E. B. Wilson and M. M. Hilferty, PNAS 17 (1931), 684.
    """
    freedom = bins - 1
    if freedom < 1 or not reference_rows or not rows:
        return math.inf
    part = 2 / (9 * freedom)
    quantile = freedom * (1 - part + _Z_95_ONE_SIDED * math.sqrt(part)) ** 3
    return quantile * (1 / reference_rows + 1 / rows)


def _of_counts(of: str, reference: Mapping[str, int], current: Mapping[str, int]) -> Drift:
    names = list({**reference, **current})
    before, after = ([counts.get(n, 0) for n in names] for counts in (reference, current))
    index = psi(before, after) if names else 0.0
    chance = by_chance(len(names), sum(before), sum(after))
    verdict = Verdict.LARGE if index >= LARGE else Verdict.SOME
    if index < SOME or index <= chance:
        verdict = Verdict.NONE
    return Drift(
        of=of,
        psi=index,
        by_chance=chance if math.isfinite(chance) else 0.0,
        verdict=verdict,
        bins=tuple(
            DriftBin(name=name, reference=_share(q, before), share=_share(p, after))
            for name, q, p in zip(names, before, after, strict=True)
        ),
    )


def _in_deciles(
    reference: Sketch, current: Sketch, *, is_uncertainty: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """Count both by the deciles of the reference, along the bins that its sketch has anyhow.

    Values of which there are many make fewer than ten.
    """
    seen = 0
    tops: list[int] = []
    for number, count in sorted(reference.counts.items()):
        seen += count
        if seen * DECILES >= reference.total * (len(tops) + 1):
            tops.append(number)
    edges = [-math.inf, *map(upper_border, tops[:-1]), math.inf]
    names = [_range(low, high, is_uncertainty) for low, high in pairwise(edges)]
    counted = []
    for sketch in (reference, current):
        counts = dict.fromkeys(names, 0)
        for number, count in sketch.counts.items():
            counts[names[bisect_left(tops[:-1], number)]] += count
        counted.append(counts)
    return counted[0], counted[1]


def _range(low: float, high: float, is_uncertainty: bool) -> str:
    """Return the name of a bin; of what a score lacks to 1, that of the scores."""
    if is_uncertainty:
        low, high = 1 - high, 1 - low
    if math.isinf(low):
        return "all" if math.isinf(high) else f"up to {high:.6g}"
    return f"above {low:.6g}" if math.isinf(high) else f"{low:.6g} to {high:.6g}"


def _share(count: int, counts: Sequence[int]) -> float:
    return count / sum(counts) if sum(counts) else 0.0
