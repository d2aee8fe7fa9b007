"""The account of a job: rows in = rows scored + rows with an error + rows of dead chunks."""

from datetime import datetime
from operator import not_
from typing import Final, Literal

from pydantic import Field

from schemas.job import JobId, Record, SkippedFile
from schemas.model_account import ModelAccount
from schemas.states import JobState

SUMMARY_VERSION: Final = 1


class RecordedDrift(Record):
    """How far one distribution was from that of a reference job, as `report --record` found it."""

    reference: JobId
    of: str
    psi: float
    by_chance: float
    verdict: Literal["none", "some", "large"]


class Summary(Record):
    """Written once a job has ended, from its results and dead letters.

    `stopped_by` is what stopped the job, so that no further chunk was begun: the error budget that
    was passed (`rows_error`, `chunks_dead`) or the code of an error that every chunk would have
    met, which `stopped_message` says in words.
    `max_row_errors` and `max_dead_chunks` are what the budgets allowed, None for any number.
    `chunks_damaged` have a result object that cannot be counted, so that their rows are missing.
    Of several models, `model` names all and `models` has what each of them came to.
    `unknown_tokens` of `tokens` stand for what the tokenizer has no word for, and the rate is their
    share; None where a result of an older worker does not say.
    `drift` is kept until the job ends anew, since it is of these results.
    `results_sha256` is that of the table of results (`layout.result_table`).
    """

    version: Literal[1] = SUMMARY_VERSION
    job_id: JobId
    state: JobState
    stopped_by: str | None
    stopped_message: str
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
    unknown_tokens: int | None = None
    unknown_token_rate: float | None = None
    scoring_seconds: float
    workers: tuple[str, ...]
    results_sha256: str
    skipped_files: tuple[SkippedFile, ...]
    created_at: datetime
    finished_at: datetime
    models: tuple[ModelAccount, ...] = Field(default=(), exclude_if=not_)
    drift: tuple[RecordedDrift, ...] = Field(default=(), exclude_if=not_)
