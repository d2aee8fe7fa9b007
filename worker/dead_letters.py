"""Writes the record of a buried chunk: places and causes, never the text of a row."""

from datetime import UTC, datetime

from schemas import layout
from schemas.chunks import Chunk
from schemas.dead_letter import AttemptRecord, DeadLetter
from schemas.errors import BulkError, InputCorrupt, Poison
from schemas.job import Manifest
from schemas.logs import describe, exception_of, frames_of
from schemas.storage import Storage
from worker.journal import Journal


def record_of(
    error: BulkError, *, attempt: int, worker: str, journal: Journal | None = None
) -> AttemptRecord:
    """Return the record of an attempt that ended with `error`."""
    now = datetime.now(UTC)
    return AttemptRecord(
        number=attempt,
        worker=worker,
        code=error.code,
        message=describe(error),
        at=now,
        began_at=journal.began_at if journal else None,
        seconds=round((now - journal.began_at).total_seconds(), 3) if journal else None,
        exception=exception_of(error),
        stages=journal.clock.seconds if journal else {},
    )


def write_dead_letter(
    storage: Storage,
    output: str,
    *,
    job_id: str,
    manifest: Manifest | None,
    chunk: Chunk,
    generation: int,
    code: str,
    error: BulkError,
    worker: str,
    attempts: tuple[AttemptRecord, ...],
) -> DeadLetter:
    """Create the dead letter of a chunk; one that is there already stays."""
    letter = DeadLetter(
        job_id=job_id,
        chunk=chunk.index,
        generation=generation,
        code=code,
        message=describe(error),
        traceback=frames_of(error),
        worker=worker,
        buried_at=datetime.now(UTC),
        attempts=attempts,
        file=manifest.files[chunk.file] if manifest is not None else None,
        row_start=chunk.row_start,
        rows=chunk.rows,
        row_group=error.row_group if isinstance(error, (InputCorrupt, Poison)) else None,
        first_bad_row=error.first_bad_row if isinstance(error, Poison) else None,
    )
    body = letter.model_dump_json(indent=2).encode()
    storage.create(layout.dead_letter(output, chunk.index, generation), body)
    return letter
