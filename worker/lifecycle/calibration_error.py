"""Whether a model is right as often as it is sure: reliability, ECE, Brier score, temperature.

The expected calibration error is taken over bins of equal mass (Nguyen and O'Connor 2015): those
of equal width are empty where a model is never unsure. One temperature for all logits, fitted by
maximum likelihood, is Guo et al., On Calibration of Modern Neural Networks (2017).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logit
from sklearn.metrics import brier_score_loss, log_loss

from worker.lifecycle.evaluated_rows import EvaluatedRows

MOST_BINS = 15
ROWS_PER_BIN = 20  # at least, where there is more than one
COLDEST, HOTTEST = 0.05, 20.0
TINIEST = float(np.finfo(np.float32).tiny)  # scores are float32
CHANCE_DRAWS = 200

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Rows of like confidence, and the share of them that is right."""

    confidence: float
    right: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sureness:
    """Smaller is better in all of them; `brier` of two labels is that of one, 0 to 1."""

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far confidence can be trusted.

    Attributes:
        ece: Of the model as it is, and so `brier` and `log_loss`.
        ece_by_chance: What a perfectly calibrated model of these scores stays below in 95 % of
            cases on so many rows (Bröcker and Smith 2007): only a larger ECE means anything.
        temperature: What to divide logits by, fitted on half of the rows.
        fitted_rows: That half.
        before: The other half as it is.
        after: The other half with the temperature.
        reliability: Bins of rising confidence. With several labels a text, of every label of every
            row.
    """

    ece: float
    ece_by_chance: float
    brier: float
    log_loss: float
    temperature: float
    fitted_rows: int
    before: Sureness
    after: Sureness
    reliability: tuple[Bin, ...]


def calibration_of(rows: EvaluatedRows, *, seed: int) -> Calibration | None:
    """Return how far scores can be trusted; None of a regression or of fewer than four rows."""
    kept = np.flatnonzero(rows.scored)
    if rows.problem == "regression" or len(kept) < 4:
        return None
    several = rows.problem == "multi_label_classification"
    chance = np.random.default_rng(seed)
    mixed = chance.permutation(kept)
    fitted, held_out = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    logits = _logits(rows.scores, several=several)
    temperature = _temperature(logits[fitted], rows.targets[fitted], several=several)
    whole = _sureness(logits[kept], rows.targets[kept], several=several)
    confidence, right = _confidence(logits[kept], rows.targets[kept], several=several)
    return Calibration(
        ece=whole.ece,
        ece_by_chance=_by_chance(confidence, chance),
        brier=whole.brier,
        log_loss=whole.log_loss,
        temperature=temperature,
        fitted_rows=len(fitted),
        before=_sureness(logits[held_out], rows.targets[held_out], several=several),
        after=_sureness(logits[held_out] / temperature, rows.targets[held_out], several=several),
        reliability=reliability(confidence, right),
    )


def reliability(confidence: Numbers, right: Numbers) -> tuple[Bin, ...]:
    """Return bins with as many rows each, by rising confidence.

    Args:
        confidence: What the model says is the chance of being right [rows].
        right: Whether it is, 0 or 1 [rows].
    """
    bins = min(MOST_BINS, max(len(confidence) // ROWS_PER_BIN, 1))
    parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return tuple(
        Bin(
            confidence=float(confidence[part].mean()),
            right=float(right[part].mean()),
            rows=len(part),
        )
        for part in parts
    )


def expected_calibration_error(confidence: Numbers, right: Numbers) -> float:
    """Return the mean distance of confidence and share right over the bins, by their rows."""
    found = reliability(confidence, right)
    return sum(each.rows * abs(each.confidence - each.right) for each in found) / len(right)


def _logits(scores: Numbers, *, several: bool) -> Numbers:
    """Return logits, up to a constant a row: dividing them is dividing the model's own.

    Of a long text in windows they are those of its mean score.
    """
    held = np.clip(scores, TINIEST, 1 - np.finfo(np.float32).epsneg if several else 1)
    return np.asarray(logit(held) if several else np.log(held))


def _probabilities(logits: Numbers, *, several: bool) -> Numbers:
    return np.exp(-np.logaddexp(0, -logits) if several else log_softmax(logits, axis=1))


def _temperature(logits: Numbers, targets: NDArray[np.int64], *, several: bool) -> float:
    """Return the temperature of largest likelihood: one number, searched by its logarithm."""

    def loss(log_temperature: float) -> float:
        cooled = logits / np.exp(log_temperature)
        if several:  # log of the sigmoid and of its complement
            return float(np.logaddexp(0, np.where(targets > 0, -cooled, cooled)).mean())
        of_rows = log_softmax(cooled, axis=1)[np.arange(len(targets)), targets]
        return -float(of_rows.mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _confidence(
    logits: Numbers, targets: NDArray[np.int64], *, several: bool
) -> tuple[Numbers, Numbers]:
    probable = _probabilities(logits, several=several)
    if several:
        return probable.ravel(), (targets > 0).ravel().astype(np.float64)
    return probable.max(axis=1), (probable.argmax(axis=1) == targets).astype(np.float64)


def _sureness(logits: Numbers, targets: NDArray[np.int64], *, several: bool) -> Sureness:
    probable = _probabilities(logits, several=several)
    ece = expected_calibration_error(*_confidence(logits, targets, several=several))
    truth, scores, labels = targets, probable, list(range(logits.shape[1]))
    if several:
        truth, scores, labels = (targets > 0).ravel().astype(int), probable.ravel(), [0, 1]
    elif len(labels) == 2:
        scores = probable[:, 1]
    return Sureness(
        ece=ece,
        brier=float(brier_score_loss(truth, scores, labels=labels)),
        log_loss=float(log_loss(truth, scores, labels=labels)),
    )


def _by_chance(confidence: Numbers, chance: np.random.Generator) -> float:
    draws = [
        expected_calibration_error(
            confidence, (chance.random(len(confidence)) < confidence).astype(np.float64)
        )
        for _ in range(CHANCE_DRAWS)
    ]
    return float(np.quantile(draws, 0.95))
