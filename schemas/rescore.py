"""What is asked and answered when rows are scored once more: places and numbers, never text."""

from schemas.errors import RowError
from schemas.job import Record


class SampledRows(Record):
    """Rows of one chunk to score again, by their number within the file."""

    chunk: int
    rows: tuple[int, ...]


class RescoreRequest(Record):
    """Rows of the job under `output` to score again with the models that its manifest pins."""

    output: str
    chunks: tuple[SampledRows, ...]


class RescoredRow(Record):
    """What a row got: a score for each label, or an error."""

    row: int
    scores: tuple[float, ...] | None = None
    error: RowError | None = None
    n_tokens: int = 0
    truncated: bool = False


class RescoredChunk(Record):
    """The answer for one chunk, on a line of its own; `problem` is why its rows cannot be read.

    `models` has what the rows got by each model, in the order of the manifest.
    """

    chunk: int
    models: tuple[tuple[RescoredRow, ...], ...] = ()
    problem: str | None = None
