"""The account of a job: rows in = rows scored + rows with an error + rows of dead chunks."""

from datetime import datetime
from typing import Final, Literal

from schemas.job import JobId, Record, SkippedFile
from schemas.states import JobState

SUMMARY_VERSION: Final = 1


class Summary(Record):
    """Written once a job has ended, from its results and dead letters."""

    version: Literal[1] = SUMMARY_VERSION
    job_id: JobId
    state: JobState
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
    dead_by_code: dict[str, int]
    tokens: int
    truncated_rows: int
    scoring_seconds: float
    workers: tuple[str, ...]
    skipped_files: tuple[SkippedFile, ...]
    created_at: datetime
    finished_at: datetime
