"""The account of a job: rows in = rows scored + rows with an error + rows of dead chunks."""

from datetime import datetime
from typing import Final, Literal

from schemas.budget import StoppedBy
from schemas.job import JobId, Record, SkippedFile
from schemas.states import JobState

SUMMARY_VERSION: Final = 1


class Summary(Record):
    """Written once a job has ended, from its results and dead letters.

    `stopped_by` is the error budget that was passed: no further chunk was begun from then on.
    `max_row_errors` and `max_dead_chunks` are what the budgets allowed, None for any number.
    `chunks_damaged` have a result object that cannot be counted, so that their rows are missing.
    `results_sha256` is that of the table of results (`layout.result_table`).
    """

    version: Literal[1] = SUMMARY_VERSION
    job_id: JobId
    state: JobState
    stopped_by: StoppedBy | None
    max_row_errors: int | None
    max_dead_chunks: int | None
    model: str
    model_digest: str
    rows: int
    rows_scored: int
    rows_error: int
    rows_dead: int
    rows_missing: int
    errors: dict[str, int]
    chunks: int
    chunks_succeeded: int
    chunks_dead: int
    chunks_damaged: int
    dead_by_code: dict[str, int]
    tokens: int
    truncated_rows: int
    scoring_seconds: float
    workers: tuple[str, ...]
    results_sha256: str
    skipped_files: tuple[SkippedFile, ...]
    created_at: datetime
    finished_at: datetime
