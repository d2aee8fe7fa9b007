"""The way of a chunk: read, tokenize, score, write. Rows out = rows in, in the same order.

While the engine works on one window of rows, one thread reads and tokenizes the next and another
writes the last; not so in a careful attempt, see `worker.careful`.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Generator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from schemas import layout
from schemas.chunks import Chunk
from schemas.job import Manifest
from schemas.results import ResultAccount
from schemas.storage import Storage
from worker.careful import Notes, careful_windows
from worker.models import LoadedModel
from worker.overlap import WriteBehind, prefetched
from worker.reader import read_windows
from worker.result_rows import TokenizedWindow, tokenize
from worker.scoring import CONTROL_TEXT, Progress, ScoredWindow, rows_of, score_window
from worker.writer import ResultWriter


def score_chunk(
    *,
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    model: LoadedModel,
    attempt: int,
    generation: int,
    worker: str,
    progress: Progress,
    notes: Notes | None = None,
) -> ResultAccount | None:
    """Score a chunk and create its result object.

    Args:
        storage: Where corpus and output lie.
        manifest: The job.
        chunk: The rows to score.
        model: The model that the manifest pins, loaded.
        attempt: Number of this attempt.
        generation: Generation of the job.
        worker: Name of this worker.
        progress: Called before each window and between batches with the tokens scored since the
            window began; what it raises ends the chunk with nothing written.
        notes: Makes the attempt a careful one: where it is kept for the case of its death.

    Returns:
        The account of the result, or None when another attempt had created one.
    """
    started = time.monotonic()
    tally = _Tally()
    # Before the windows, whose thread has the tokenizer from then on.
    (control,) = model.tokenizer.encode([CONTROL_TEXT]).ids
    with (
        ResultWriter() as writer,
        WriteBehind() as behind,
        contextlib.closing(_windows(storage, manifest, chunk, model, notes)) as windows,
    ):

        def write(scored: ScoredWindow) -> None:
            rows = rows_of(scored, manifest, chunk, model)
            tally.add(rows)
            writer.write(rows)

        for window in windows:
            behind(partial(write, score_window(window, model, progress, control)))
            if notes is not None:
                behind.wait()
        behind.wait()
        account = ResultAccount(
            job_id=manifest.job_id,
            chunk=chunk.index,
            generation=generation,
            attempt=attempt,
            model=manifest.model.ref,
            model_digest=manifest.model.digest,
            rows=chunk.rows,
            rows_scored=tally.rows - tally.errors.total(),
            errors=dict(sorted(tally.errors.items())),
            tokens=tally.tokens,
            truncated_rows=tally.truncated_rows,
            seconds=round(time.monotonic() - started, 3),
            worker=worker,
            device=model.engine.device,
            dtype=model.engine.dtype,
            libraries=model.libraries,
        )
        created = writer.publish(storage, layout.result(manifest.spec.output, chunk.index), account)
    return account if created else None


class _Tally:
    """Sums over the rows of a chunk's result."""

    def __init__(self) -> None:
        self.rows = 0
        self.errors: Counter[str] = Counter()
        self.tokens = 0
        self.truncated_rows = 0

    def add(self, rows: pa.Table) -> None:
        self.rows += rows.num_rows
        self.errors.update(rows.column("error").drop_null().to_pylist())
        self.tokens += pc.sum(rows.column("n_tokens")).as_py()
        self.truncated_rows += pc.sum(rows.column("truncated")).as_py()


def _windows(
    storage: Storage, manifest: Manifest, chunk: Chunk, model: LoadedModel, notes: Notes | None
) -> Generator[TokenizedWindow, None, None]:
    if notes is not None:
        return careful_windows(storage, manifest, chunk, model.tokenizer, notes)
    return prefetched(_tokenized(storage, manifest, chunk, model))


def _tokenized(
    storage: Storage, manifest: Manifest, chunk: Chunk, model: LoadedModel
) -> Generator[TokenizedWindow, None, None]:
    windows = read_windows(
        storage,
        manifest.files[chunk.file],
        chunk,
        text_column=manifest.spec.text_column,
        id_columns=manifest.spec.id_columns,
    )
    with contextlib.closing(windows):
        for window in windows:
            yield tokenize(window, model.tokenizer, manifest.spec.long_text)
