"""The record of one reprocess: which dead chunks were sent again, and what was changed for them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from schemas import layout
from schemas.job import JobId, Record, parse_record
from schemas.storage import Storage

GENERATION_VERSION: Final = 1


class Generation(Record):
    """Reprocess `number` of a job, created once; a chunk's newest generation that names it counts.

    `token_budget` replaces the job's own for these chunks.
    """

    version: Literal[1] = GENERATION_VERSION
    job_id: JobId
    number: int
    created_at: datetime
    chunks: tuple[int, ...]
    token_budget: int | None = None


def read_generations(storage: Storage, output: str) -> list[Generation]:
    """Return the job's reprocess records, oldest first."""
    found = storage.list_objects(layout.generations(output))
    records = [parse_record(Generation, storage.read(o.uri), o.uri) for o in found]
    return sorted(records, key=lambda g: g.number)


def generation_of_chunks(generations: Iterable[Generation]) -> dict[int, Generation]:
    """Return the newest generation of every chunk that was ever sent again."""
    newest: dict[int, Generation] = {}
    for record in sorted(generations, key=lambda g: g.number):
        newest.update(dict.fromkeys(record.chunks, record))
    return newest
