"""The way of a chunk: read, tokenize, score, write. Rows out = rows in, in the same order.

While the engine works on one window of rows, a thread reads and tokenizes the next.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa

from schemas import layout
from schemas.chunks import Chunk
from schemas.job import Manifest
from schemas.results import ResultAccount
from schemas.storage import Storage
from worker.models import LoadedModel
from worker.reader import read_windows
from worker.result_rows import TokenizedWindow, result_rows, tokenize
from worker.scores import score_rows
from worker.writer import ResultWriter

T = TypeVar("T")
Progress = Callable[[int], None]


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
        progress: Called between batches with the tokens scored since the window began; what it
            raises ends the chunk with nothing written.

    Returns:
        The account of the result, or None when another attempt had created one.
    """
    started = time.monotonic()
    tally = _Tally()
    with (
        ResultWriter() as writer,
        contextlib.closing(_windows(storage, manifest, chunk, model)) as windows,
    ):
        for window in windows:
            rows = _score(window, manifest, chunk, model, progress)
            tally.add(rows)
            writer.write(rows)
        account = ResultAccount(
            job_id=manifest.job_id,
            chunk=chunk.index,
            generation=generation,
            attempt=attempt,
            model=manifest.model.ref,
            model_digest=manifest.model.digest,
            rows=chunk.rows,
            rows_scored=chunk.rows - tally.errors.total(),
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


def prefetched(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield from `items`, computing the next one in a thread while the caller has the last.

    An error of `items` reaches the caller in its place; closing this closes `items`.
    """
    end = object()
    with contextlib.closing(items), ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


class _Tally:
    """Sums over the rows of a chunk's result."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.tokens = 0
        self.truncated_rows = 0

    def add(self, rows: pa.Table) -> None:
        self.errors.update(code for code in rows.column("error").to_pylist() if code is not None)
        self.tokens += int(np.sum(rows.column("n_tokens").to_numpy()))
        self.truncated_rows += int(np.sum(rows.column("truncated").to_numpy()))


def _windows(
    storage: Storage, manifest: Manifest, chunk: Chunk, model: LoadedModel
) -> Generator[TokenizedWindow, None, None]:
    def read_and_tokenize() -> Generator[TokenizedWindow, None, None]:
        for window in read_windows(
            storage,
            manifest.files[chunk.file],
            chunk,
            text_column=manifest.spec.text_column,
            id_columns=manifest.spec.id_columns,
        ):
            yield tokenize(window, model.tokenizer)

    return prefetched(read_and_tokenize())


def _score(
    window: TokenizedWindow,
    manifest: Manifest,
    chunk: Chunk,
    model: LoadedModel,
    progress: Progress,
) -> pa.Table:
    progress(0)
    logits = (
        model.engine.forward(window.encoded.ids, progress)
        if window.encoded.ids
        else np.zeros((0, model.engine.label_count), dtype=np.float32)
    )
    return result_rows(
        window,
        score_rows(logits, manifest.model.problem_type),
        source_file=manifest.files[chunk.file].uri,
        labels=model.labels,
        all_scores=manifest.spec.all_scores,
    )
