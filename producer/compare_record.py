"""What a comparison of two jobs, or of two models of one job, comes to."""

from producer.agreement import Share
from schemas.job import JobId, Record


class ComparedModel(Record):
    """One side: the job, the model by its reference, and its name where the job has several."""

    job_id: JobId
    output: str
    model: str
    model_digest: str
    name: str


class LabelMove(Record):
    """Rows that have one label on the first side and one on the second."""

    before: str
    after: str
    rows: int


class ErrorMove(Record):
    """Rows with an error on a side; None stands for a row that was scored there."""

    before: str | None
    after: str | None
    rows: int


class ScoreShift(Record):
    """How far scores moved; see `producer.compare_shift` for what a shift is.

    `quantiles` are within 1 % of themselves, `histogram` has the rows between neighbouring `edges`.
    """

    rows: int
    mean: float | None
    mean_absolute: float | None
    quantiles: dict[str, float | None]
    edges: tuple[float, ...]
    histogram: tuple[int, ...]


class MovedRow(Record):
    """A row that moved far; `moved` is how far at least, `shift` is None where it is not known."""

    source_file: str
    source_row: int
    ids: dict[str, str | None]
    label_a: str | None
    score_a: float
    label_b: str | None
    score_b: float
    shift: float | None
    moved: float


class Comparison(Record):
    """What came of comparing `a`, taken as what was before, with `b`.

    Attributes:
        rows: Rows that both have.
        rows_only_a: Rows that the first alone has; `rows_only_b` likewise. Between a job's model
            and its canary there are none.
        rows_ambiguous: Rows left out because their id is null or not theirs alone.
        files_only_a: Files that the first alone has, the first of them; `files_only_b` likewise.
        rows_compared: Rows that both have scored.
        errors: The other rows of both.
        agreement: Rows compared with the same label, with its 95 % interval; None of a regression.
        kappa: Cohen's kappa of the labels.
    """

    a: ComparedModel
    b: ComparedModel
    rows: int
    rows_only_a: int
    rows_only_b: int
    rows_ambiguous: int
    files_only_a: tuple[str, ...]
    files_only_b: tuple[str, ...]
    rows_compared: int
    errors: tuple[ErrorMove, ...]
    agreement: Share | None
    kappa: float | None
    label_moves: tuple[LabelMove, ...]
    shift: ScoreShift
    moved_most: tuple[MovedRow, ...]
