"""The record of what an operator changed in a job: chunks sent again, other budgets or models."""

from collections.abc import Iterable
from datetime import datetime
from operator import not_
from typing import Final, Literal

from pydantic import Field

from schemas import layout
from schemas.job import ErrorBudget, JobId, ModelPin, Record, parse_record
from schemas.storage import Storage

GENERATION_VERSION: Final = 1


class Generation(Record):
    """Change `number` of a job, created once; a chunk's newest generation that names it counts.

    `token_budget` replaces the job's own for these chunks. An error budget replaces the job's for
    good, None leaves it; such a change names no chunk.

    `models` replace those of the manifest for good, because `replaces` was found to be bad. The
    chunks are those that had a result then, which `schemas.supersede` sets aside.
    """

    version: Literal[1] = GENERATION_VERSION
    job_id: JobId
    number: int
    created_at: datetime
    chunks: tuple[int, ...]
    token_budget: int | None = None
    max_row_errors: ErrorBudget | None = None
    max_dead_chunks: ErrorBudget | None = None
    models: tuple[ModelPin, ...] = Field(default=(), exclude_if=not_)
    replaces: ModelPin | None = Field(default=None, exclude_if=not_)


def read_generations(storage: Storage, output: str) -> list[Generation]:
    """Return what was changed in the job, oldest first."""
    found = storage.list_objects(layout.generations(output))
    records = [parse_record(Generation, storage.read(o.uri), o.uri) for o in found]
    return sorted(records, key=lambda g: g.number)


def generation_of_chunks(generations: Iterable[Generation]) -> dict[int, Generation]:
    """Return the newest generation of every chunk that was ever sent again."""
    newest: dict[int, Generation] = {}
    for record in sorted(generations, key=lambda g: g.number):
        newest.update(dict.fromkeys(record.chunks, record))
    return newest
