"""Reads a chunk that kills its process: in small pieces, each noted before anything is done to it.

Nothing is read ahead. What the notes are for is told in `schemas.trail`.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import Manifest
from schemas.objects import ObjectStat
from schemas.parquet import open_parquet
from schemas.storage import Storage
from schemas.trail import PIECE_ROWS, WRITING, Place, Trail, pieces
from worker.encoded import replaced
from worker.reader import CPU_WINDOW, Window, read_windows
from worker.result_rows import TokenizedWindow, tokenize, window_samples
from worker.stages import StageClock
from worker.texts import Texts
from worker.tokenizer import Tokenizer


class Notes:
    """The trail of the attempt under way, written down before each step.

    Args:
        trail: What is known by now.
        write: Keeps a trail where it survives this process.
    """

    def __init__(self, trail: Trail, write: Callable[[Trail], None]) -> None:
        self.trail = trail
        self._write = write

    def note(self, place: Place | None) -> None:
        """Write down what comes next; None when the attempt ends in an orderly way."""
        self.trail = self.trail.model_copy(update={"at": place})
        self._write(self.trail)


def careful_windows(
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    tokenizers: Sequence[Tokenizer],
    notes: Notes,
    clock: StageClock,
) -> Generator[TokenizedWindow, None, None]:
    """Yield the rows of `chunk` in pieces, to be scored before the next one is asked for.

    Raises:
        LeaseLost: As from `notes`.
        BulkError: As from `read_windows`.
    """
    for row_group, part in _parts(storage, manifest, chunk, notes):
        stop = part.row_start + part.rows
        reading = Place(stage="reading", start=part.row_start, stop=stop, row_group=row_group)
        notes.note(reading)
        windows = read_windows(
            storage,
            manifest.files[part.file],
            part,
            text_column=manifest.spec.text_column,
            id_columns=manifest.spec.id_columns,
            size=CPU_WINDOW._replace(rows=PIECE_ROWS),
        )
        with contextlib.closing(clock.each("read", windows)) as read:
            for window in read:
                end = window.row_start + len(window)
                for first, last in pieces(notes.trail, window.row_start, end):
                    notes.note(Place(stage="scoring", start=first, stop=last))
                    piece = _piece(window, first, last, notes.trail.bad)
                    samples = window_samples(manifest, part, piece)
                    with clock("tokenize"):
                        tokenized = tokenize(piece, tokenizers, manifest.spec.long_text, samples)
                    yield tokenized
                notes.note(reading.model_copy(update={"start": end}))
    notes.note(WRITING)


def _parts(
    storage: Storage, manifest: Manifest, chunk: Chunk, notes: Notes
) -> Iterator[tuple[int, Chunk]]:
    """Yield the chunk's share of each row group it spans, so that one that kills has a number."""
    file = manifest.files[chunk.file]
    end = chunk.row_start + chunk.rows
    notes.note(Place(stage="reading", start=chunk.row_start, stop=end))
    expected = ObjectStat(uri=file.uri, size=file.size, etag=file.etag)
    with open_parquet(storage, file.uri, expected=expected) as parquet:
        footer = parquet.metadata
        sizes = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    stop = 0
    for group, size in enumerate(sizes):
        start, stop = stop, stop + size
        low, high = max(start, chunk.row_start), min(stop, end)
        if low < high:
            yield group, replace(chunk, row_start=low, rows=high - low)


def _piece(window: Window, first: int, last: int, bad: tuple[int, ...]) -> Window:
    """Return the rows from `first` to `last` of the file; one that kills has an error, no text."""
    low, high = first - window.row_start, last - window.row_start
    values, errors = window.texts.values[low:high], window.texts.errors[low:high]
    killing = [row - first for row in bad if first <= row < last]
    for place in killing:
        errors[place] = RowError.KILLED_WORKER
    values = replaced(values, killing, pa.array([""] * len(killing), pa.large_string()))
    return Window(
        row_start=first, ids=window.ids.slice(low, high - low), texts=Texts(values, errors)
    )
