"""The record kept on the object store for every buried chunk and generation."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from schemas.job import InputFile, JobId, Record

DEAD_LETTER_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Buried:
    """What the counters keep of a dead chunk."""

    rows: int
    code: str


class AttemptRecord(Record):
    """One execution of a chunk that did not end in a result.

    `at` is its end, `exception` the class of what was raised first, and `stages` the seconds in
    each stage.
    """

    number: int
    worker: str
    code: str
    message: str
    at: datetime
    began_at: datetime | None = None
    seconds: float | None = None
    exception: str | None = None
    stages: dict[str, float] = Field(default_factory=dict)


class DeadLetter(Record):
    """Why a chunk was set aside, and everything needed to look into it or to send it again.

    Holds places and causes, never the text of a row.
    """

    version: Literal[1] = DEAD_LETTER_VERSION
    job_id: JobId
    chunk: int
    generation: int
    code: str
    message: str
    traceback: str
    worker: str
    buried_at: datetime
    attempts: tuple[AttemptRecord, ...]
    file: InputFile | None
    row_start: int
    rows: int
    row_group: int | None = None
    first_bad_row: int | None = None
