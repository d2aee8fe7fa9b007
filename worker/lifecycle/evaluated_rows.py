"""What a model says of labelled texts, scored window by window on the very road of a job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import RowError
from schemas.job import LongText, ProblemType
from worker.models import LoadedModel
from worker.reader import Window
from worker.result_rows import tokenize
from worker.scores import score_rows
from worker.scoring import CONTROL_TEXT, score_window
from worker.texts import texts_of

WINDOW_ROWS = 4_096
THRESHOLD = 0.5  # of the score from which on a label applies, where several may

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluatedRows:
    """Rows with what was asked and what the model says.

    Attributes:
        problem: What a label is.
        labels: Names of the labels, in the order of the scores.
        targets: As `labelled.targets`: int64 [rows], float32 [rows, labels] or float32 [rows].
        scores: float64 [rows, labels], NaN where a row has none.
        tokens: int64 [rows], tokens that were read.
        errors: Why a row was not scored, by row.
        threshold: Score from which on a label applies, where several may.
    """

    problem: ProblemType
    labels: tuple[str, ...]
    targets: NDArray[Any]
    scores: NDArray[np.float64]
    tokens: NDArray[np.int64]
    errors: dict[int, RowError]
    threshold: float = THRESHOLD

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.scores)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which rows have scores [rows]."""
        return ~np.isnan(self.scores[:, 0])

    @property
    def predicted(self) -> NDArray[Any]:
        """What the model says, of the shape of `targets`.

        Of a row without a score: -1, no label, or NaN.
        """
        if self.problem == "regression":
            return self.scores[:, 0]
        if self.problem == "multi_label_classification":
            return np.nan_to_num(self.scores, nan=-1.0) >= self.threshold
        best = np.nan_to_num(self.scores, nan=-1.0).argmax(axis=1)
        return np.where(self.scored, best, -1)

    @property
    def merits(self) -> NDArray[np.float64]:
        """How good each row is [rows]; their mean is the first metric of the problem.

        Single-label: 1 if the label is right (accuracy). Multi-label: the Jaccard index of the
        labels said and asked, 1 where both are none. Regression: minus the absolute error. A row
        without a score is wrong; in a regression it is NaN.
        """
        if self.problem == "regression":
            return -np.abs(np.asarray(self.predicted - self.targets, dtype=np.float64))
        if self.problem == "single_label_classification":
            return np.asarray(self.predicted == self.targets, dtype=np.float64)
        said, asked = self.predicted, self.targets > 0
        both, either = (said & asked).sum(axis=1), (said | asked).sum(axis=1)
        found = np.where(either == 0, 1.0, both / np.maximum(either, 1))
        return np.where(self.scored, found, 0.0)


# What the mean of `merits` is called.
FIRST_METRIC: dict[ProblemType, str] = {
    "single_label_classification": "accuracy",
    "multi_label_classification": "jaccard",
    "regression": "mae",
}


def evaluate_rows(
    model: LoadedModel,
    texts: Sequence[str],
    targets: NDArray[Any],
    *,
    long_text: LongText = "truncate",
    threshold: float = THRESHOLD,
    progress: Progress = lambda _rows: None,
) -> EvaluatedRows:
    """Score texts as a job does: the same checks, tokens, batches, errors and scores.

    Args:
        model: The model.
        texts: The texts.
        targets: What is asked of each.
        long_text: What becomes of long texts.
        threshold: As in `EvaluatedRows`.
        progress: Called now and then with the rows scored so far.
    """
    scores = np.full((len(texts), len(model.labels)), np.nan)
    tokens = np.zeros(len(texts), dtype=np.int64)
    errors: dict[int, RowError] = {}
    control = model.tokenizer.encode([CONTROL_TEXT]).ids[0]
    for start in range(0, len(texts), WINDOW_ROWS):
        values = pa.array(texts[start : start + WINDOW_ROWS], pa.large_string())
        texts_here = texts_of([values.cast(pa.large_binary())])
        window = Window(row_start=start, ids=pa.table({}), texts=texts_here)
        tokenized = tokenize(window, [model.tokenizer], long_text)
        (said,) = score_window(tokenized, [model], lambda _tokens: None, [control]).texts
        (given,) = tokenized.texts
        found = score_rows(said.logits, model.pin.problem_type, given.encoded.passages, long_text)
        places = start + given.places
        scores[places] = found.scores
        tokens[places] = given.encoded.tokens()
        errors |= {start + i: error for i, error in enumerate(given.errors) if error is not None}
        for place in np.flatnonzero(~found.finite):
            code = said.failures.get(int(place), RowError.SCORE_NOT_FINITE)
            errors[int(places[place])] = code
        progress(min(start + WINDOW_ROWS, len(texts)))
    return EvaluatedRows(
        problem=model.pin.problem_type,
        labels=model.labels,
        targets=targets,
        scores=scores,
        tokens=tokens,
        errors=errors,
        threshold=threshold,
    )
