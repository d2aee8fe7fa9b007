"""Writes the record of a buried chunk: places and causes, never the text of a row."""

import traceback
from datetime import UTC, datetime

from schemas import layout
from schemas.chunks import Chunk
from schemas.dead_letter import AttemptRecord, DeadLetter
from schemas.errors import BulkError, InputCorrupt, Poison
from schemas.job import Manifest
from schemas.storage import Storage

MAX_TRACEBACK_CHARACTERS = 16_000
# A foreign exception may quote what it choked on; of those that handle text only the type is kept.
_MAY_QUOTE_TEXT = (ValueError, TypeError, KeyError, LookupError, AttributeError)


def describe(error: BaseException) -> str:
    """Return what can be said of an error without quoting a row."""
    if isinstance(error, BulkError):
        return str(error)
    name = type(error).__name__
    if isinstance(error, _MAY_QUOTE_TEXT) or not isinstance(error, Exception):
        return name
    first_line = str(error).splitlines()[0] if str(error) else ""
    return f"{name}: {first_line[:500]}"


def frames_of(error: BaseException) -> str:
    """Return the stack of an error and of its causes: files, lines and code, no values."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        stack = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{stack}{describe(current)}")
        current = current.__cause__
    return "\n\ncaused by:\n".join(parts)[-MAX_TRACEBACK_CHARACTERS:]


def record_of(error: BulkError, *, attempt: int, worker: str) -> AttemptRecord:
    """Return the record of an attempt that ended with `error`."""
    return AttemptRecord(
        number=attempt,
        worker=worker,
        code=error.code,
        message=describe(error),
        at=datetime.now(UTC),
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
