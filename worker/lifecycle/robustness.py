"""What becomes of labels when texts are spoilt: how many flip, and what it costs.

For each perturbation the texts that it changes are scored as they are and as they became, with
several seeds. The intervals are over texts, however many seeds there were: a text that is spoilt
anew is no new text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from worker.lifecycle.bootstrap import RESAMPLES, Interval, bootstrap_mean, wilson
from worker.lifecycle.evaluated_rows import EvaluatedRows
from worker.lifecycle.perturbations import PERTURBATIONS, perturb

# Scores these texts with the targets of these rows.
Evaluate = Callable[[Sequence[str], NDArray[np.int64]], EvaluatedRows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one perturbation does to the texts that it changes.

    Attributes:
        texts: Texts that it changes, of those tried.
        tried: Texts that were tried.
        flip_rate: Share of them whose label, or set of labels, is another; None of a regression.
        flip_rate_interval: Wilson's.
        drop: What the first metric of the problem (accuracy, Jaccard index or mean absolute error)
            gets worse by on them; below 0 it got better.
        drop_interval: Bootstrap over the same texts before and after.
        flip_rate_by_seed: How far it depends on what was drawn.
        flip_rate_by_label: By the label that is asked; of single-label problems alone.
    """

    texts: int
    tried: int
    flip_rate: float | None = None
    flip_rate_interval: Interval | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    flip_rate_by_seed: tuple[float, ...] = ()
    flip_rate_by_label: dict[str, float] | None = None


def robustness_of(
    before: EvaluatedRows,
    texts: Sequence[str],
    evaluate: Evaluate,
    *,
    rows: NDArray[np.int64],
    seeds: Sequence[int],
    resamples: int = RESAMPLES,
    tell: Callable[[str], None] = lambda _name: None,
) -> dict[str, Effect]:
    """Return the effect of each perturbation, by its name.

    Args:
        before: All rows as they are.
        texts: Their texts.
        evaluate: Scores spoilt texts.
        rows: Those to try; such as were not scored are left out.
        seeds: Of the perturbations; the first one is that of the bootstrap as well.
        resamples: Of the bootstrap.
        tell: Called with the name of each perturbation before its turn.
    """
    tried = rows[before.scored[rows]]
    found = {}
    for name in PERTURBATIONS:
        tell(name)
        found[name] = _effect(name, before, texts, evaluate, tried, seeds, resamples)
    return found


def _effect(
    name: str,
    before: EvaluatedRows,
    texts: Sequence[str],
    evaluate: Evaluate,
    tried: NDArray[np.int64],
    seeds: Sequence[int],
    resamples: int,
) -> Effect:
    spoilt = [{int(i): perturb(name, texts[i], seed) for i in tried} for seed in seeds]
    # A text that one seed leaves as it is counts with the others: it did not flip there.
    changed = np.array([i for i in tried if any(of[i] != texts[i] for of in spoilt)], np.int64)
    if not len(changed):
        return Effect(texts=0, tried=len(tried))
    flips, losses = [], []
    for of in spoilt:
        after = evaluate([of[int(i)] for i in changed], changed)
        flips.append(_flips(before.predicted[changed], after.predicted))
        losses.append(before.merits[changed] - after.merits)
    loss = np.mean(losses, axis=0)
    loss = loss[~np.isnan(loss)]  # a regression may have lost its score
    effect = Effect(
        texts=len(changed),
        tried=len(tried),
        drop=float(loss.mean()),
        drop_interval=bootstrap_mean(loss, seed=seeds[0], resamples=resamples),
    )
    return effect if before.problem == "regression" else _with_flips(effect, before, changed, flips)


def _flips(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.float64]:
    other = before != after
    flipped = other.any(axis=1) if other.ndim > 1 else other
    return np.asarray(flipped, dtype=np.float64)


def _with_flips(
    effect: Effect,
    before: EvaluatedRows,
    changed: NDArray[np.int64],
    by_seed: Sequence[NDArray[np.float64]],
) -> Effect:
    flips = np.mean(by_seed, axis=0)
    by_label = None
    if before.problem == "single_label_classification":
        asked = before.targets[changed]
        by_label = {
            name: float(flips[asked == i].mean())
            for i, name in enumerate(before.labels)
            if (asked == i).any()
        }
    return replace(
        effect,
        flip_rate=float(flips.mean()),
        flip_rate_interval=wilson(float(flips.sum()), len(flips)),
        flip_rate_by_seed=tuple(float(each.mean()) for each in by_seed),
        flip_rate_by_label=by_label,
    )
