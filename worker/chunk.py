"""The way of a chunk: read, tokenize, score, write. Rows out = rows in, in the same order.

While the engine works on one window of rows, one thread tokenizes the next, one reads the next but
one, and another writes the last; not so in a careful attempt, see `worker.careful`.
"""

import contextlib
import time
from collections.abc import Generator, Sequence
from functools import partial

from schemas import layout
from schemas.chunks import Chunk
from schemas.job import Manifest
from schemas.results import ResultAccount
from schemas.storage import Storage
from worker.accounting import Accounting
from worker.careful import Notes, careful_windows
from worker.models import LoadedModel
from worker.overlap import WriteBehind, prefetched
from worker.reader import CPU_WINDOW, GPU_WINDOW, read_windows
from worker.result_rows import TokenizedWindow, tokenize, window_samples
from worker.scoring import CONTROL_TEXT, Progress, ScoredWindow, rows_of, score_window
from worker.stages import StageClock
from worker.tokenizer import Tokenizer, alike
from worker.unknown_tokens import UnknownTokens
from worker.writer import ResultWriter


def score_chunk(
    *,
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    models: Sequence[LoadedModel],
    attempt: int,
    generation: int,
    worker: str,
    progress: Progress,
    notes: Notes | None = None,
    clock: StageClock | None = None,
) -> ResultAccount | None:
    """Score a chunk and create its result object.

    Args:
        storage: Where corpus and output lie.
        manifest: The job.
        chunk: The rows to score.
        models: The models that the manifest pins, loaded.
        attempt: Number of this attempt.
        generation: Generation of the job.
        worker: Name of this worker.
        progress: Called before each window and between batches with the tokens scored since the
            window began; what it raises ends the chunk with nothing written.
        notes: Makes the attempt a careful one: where it is kept for the case of its death.
        clock: Measures its stages.

    Returns:
        The account of the result, or None when another attempt had created one.
    """
    started, clock = time.monotonic(), clock or StageClock()
    accounting, unknown = Accounting(manifest, models), UnknownTokens(manifest, models)
    tokenizers = alike([model.tokenizer for model in models])
    # Before the windows, whose thread has the tokenizers from then on.
    controls = [tokenizer.encode([CONTROL_TEXT]).ids[0] for tokenizer in tokenizers]
    with (
        ResultWriter() as writer,
        WriteBehind() as behind,
        contextlib.closing(
            _windows(storage, manifest, chunk, models, tokenizers, notes, clock)
        ) as windows,
    ):

        def write(scored: ScoredWindow) -> None:
            with clock("write"):
                rows = rows_of(scored, manifest, chunk, models)
                accounting.add(rows)
                unknown.add(scored.window, rows)
                writer.write(rows)

        for window in windows:
            with clock("score"):
                scored = score_window(window, models, progress, controls)
            behind(partial(write, scored))
            if notes is not None:
                behind.wait()
        behind.wait()
        account = accounting.account(
            chunk,
            generation=generation,
            attempt=attempt,
            seconds=time.monotonic() - started,
            worker=worker,
            stages=clock.seconds,
        )
        account = unknown.entered(account)
        with clock("write"):
            created = writer.publish(
                storage, layout.result(manifest.spec.output, chunk.index), account
            )
    if created:
        accounting.count(account.seconds)
    return account if created else None


def _windows(
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    models: Sequence[LoadedModel],
    tokenizers: Sequence[Tokenizer],
    notes: Notes | None,
    clock: StageClock,
) -> Generator[TokenizedWindow, None, None]:
    if notes is not None:
        return careful_windows(storage, manifest, chunk, tokenizers, notes, clock)
    on_gpu = any(model.engine.device.startswith("cuda") for model in models)
    return prefetched(_tokenized(storage, manifest, chunk, tokenizers, clock, on_gpu=on_gpu))


def _tokenized(
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    tokenizers: Sequence[Tokenizer],
    clock: StageClock,
    *,
    on_gpu: bool,
) -> Generator[TokenizedWindow, None, None]:
    windows = read_windows(
        storage,
        manifest.files[chunk.file],
        chunk,
        text_column=manifest.spec.text_column,
        id_columns=manifest.spec.id_columns,
        size=GPU_WINDOW if on_gpu else CPU_WINDOW,
    )
    with contextlib.closing(prefetched(clock.each("read", windows))) as read:
        for window in read:
            samples = window_samples(manifest, chunk, window)
            with clock("tokenize"):
                tokenized = tokenize(window, tokenizers, manifest.spec.long_text, samples)
            yield tokenized
