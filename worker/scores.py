"""From logits to labels and scores: softmax, sigmoid or the value itself. Pure numpy.

A text is scored in one passage, unless the job cuts long texts into windows (`--long-text`). With
`windows` a score is the mean over the passages. With `windows-max` that passage counts which shows
a label most: for each label by itself where labels do not exclude each other; where they do, all
scores are those of the passage that is surest of its label, so that they still sum to 1.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from schemas.job import LongText, ProblemType

# What `label_index` holds where a row has no label: regression, or a score that is not finite.
NO_LABEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScores:
    """What is written of a batch of rows, in the order of their logits.

    Attributes:
        label_index: int32 [rows], index of the best label, `NO_LABEL` where there is none.
        score: float32 [rows], probability of that label, or the value of a regression.
        scores: float32 [rows, labels], one for each label.
        finite: bool [rows], False where a logit was NaN or infinite; such a row is a row error
            (`score_not_finite`) and its other values mean nothing.
    """

    label_index: NDArray[np.int32]
    score: NDArray[np.float32]
    scores: NDArray[np.float32]
    finite: NDArray[np.bool_]


def score_rows(
    logits: NDArray[np.float32],
    problem_type: ProblemType,
    passages: NDArray[np.int64] | None = None,
    long_text: LongText = "truncate",
) -> RowScores:
    """Return label and scores of each row; one is finite when all of its passages are.

    With several labels at once (multi-label) the label is the most probable one.

    Args:
        logits: Logits [passages, labels], row by row.
        problem_type: What they mean.
        passages: Passages of each row [rows], at least one; None for one each.
        long_text: How the passages of a row are put together.
    """
    if passages is None:
        passages = np.ones(len(logits), dtype=np.int64)
    starts = np.cumsum(passages) - passages
    finite_passages: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(logits), axis=1)
    scores = probabilities(np.where(finite_passages[:, None], logits, np.float32(0)), problem_type)
    finite: NDArray[np.bool_] = np.logical_and.reduceat(finite_passages, starts)
    if long_text != "windows-max":
        sums = np.add.reduceat(scores, starts, axis=0, dtype=np.float64)
        scores = (sums / passages[:, None]).astype(np.float32)
    elif problem_type == "single_label_classification":
        scores = scores[_surest(scores, passages)]
    else:
        scores = np.maximum.reduceat(scores, starts, axis=0)
    return _labelled(scores, finite, problem_type)


def _surest(scores: NDArray[np.float32], passages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the passage with the largest score of each row [rows], the first of equal ones."""
    rows = np.repeat(np.arange(len(passages)), passages)
    best_first = np.lexsort((-scores.max(axis=1), rows))
    surest: NDArray[np.int64] = best_first[np.cumsum(passages) - passages]
    return surest


def _labelled(
    scores: NDArray[np.float32], finite: NDArray[np.bool_], problem_type: ProblemType
) -> RowScores:
    best = scores.argmax(axis=1)
    score = scores[np.arange(len(scores)), best]
    if problem_type == "regression":
        best = np.full(len(scores), NO_LABEL)
    return RowScores(
        label_index=np.where(finite, best, NO_LABEL).astype(np.int32),
        score=np.where(finite, score, np.float32(np.nan)),
        scores=np.where(finite[:, None], scores, np.float32(np.nan)),
        finite=finite,
    )


def probabilities(logits: NDArray[np.float32], problem_type: ProblemType) -> NDArray[np.float32]:
    """Return scores [rows, labels] for finite logits [rows, labels].

    Computed in float64, so that no logit overflows and the sum of a row is 1 to float32 accuracy.
    """
    wide: NDArray[np.float64] = logits.astype(np.float64)
    result: NDArray[np.float64]
    match problem_type:
        case "single_label_classification":
            powers = np.exp(wide - wide.max(axis=1, keepdims=True))
            result = powers / powers.sum(axis=1, keepdims=True)
        case "multi_label_classification":
            # exp of the negative magnitude cannot overflow, whatever the sign.
            small = np.exp(-np.abs(wide))
            result = np.where(wide >= 0, 1 / (1 + small), small / (1 + small))
        case "regression":
            result = wide
        case _:
            assert_never(problem_type)
    return result.astype(np.float32, copy=False)
