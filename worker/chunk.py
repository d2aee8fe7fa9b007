"""The way of a chunk: read, tokenize, score, write. Rows out = rows in, in the same order.

While the engine works on one window of rows, a thread reads and tokenizes the next; not so in a
careful attempt, see `worker.careful`.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas import layout
from schemas.chunks import Chunk
from schemas.errors import RowError
from schemas.job import Manifest
from schemas.results import ResultAccount
from schemas.storage import Storage
from worker import isolation
from worker.careful import Notes, careful_windows
from worker.distinct import distinct
from worker.models import LoadedModel
from worker.reader import read_windows
from worker.result_rows import TokenizedWindow, result_rows, tokenize
from worker.scores import score_rows
from worker.tokenizer import Ids
from worker.writer import ResultWriter

logger = logging.getLogger(__name__)

T = TypeVar("T")
Progress = Callable[[int], None]

# A text that any model can score: where it fails, the fault is not in the rows.
CONTROL_TEXT = "a"
# Row numbers that a log line gives at most.
ROWS_TOLD = 20


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
        contextlib.closing(_windows(storage, manifest, chunk, model, notes)) as windows,
    ):
        for window in windows:
            rows = _scored(window, manifest, chunk, model, progress, control)
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


def prefetched(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """Yield from `items`, computing the next one in a thread while the caller has the last.

    An error of `items` reaches the caller in its place. Closing this waits for the item under way
    and closes `items`; no thread stays behind.
    """
    with contextlib.closing(items), ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        upcoming = pool.submit(_first, items)
        while found := upcoming.result():
            upcoming = pool.submit(_first, items)
            yield found[0]


def _first(items: Iterator[T]) -> list[T]:
    """Return the next item in a list, which is empty at the end."""
    return list(islice(items, 1))


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


def _scored(
    window: TokenizedWindow,
    manifest: Manifest,
    chunk: Chunk,
    model: LoadedModel,
    progress: Progress,
    control: Ids,
) -> pa.Table:
    """Return the result rows of a window. Passages with the same tokens are scored once."""
    progress(0)
    encoded = window.encoded
    different = distinct(ids.tobytes() for ids in encoded.ids)
    logits, failed = isolation.score(
        model.engine, [encoded.ids[i] for i in different.firsts], progress, control=control
    )
    if logits.shape != (len(different.firsts), len(model.labels)):
        raise AssertionError(
            f"bug: logits of shape {logits.shape} for {len(different.firsts)} rows, "
            f"{len(model.labels)} labels"
        )
    scored = score_rows(
        logits[different.kinds],
        manifest.model.problem_type,
        encoded.passages,
        manifest.spec.long_text,
    )
    failures = _of_rows(failed, different.kinds, encoded.passages)
    _tell(window, failures)
    return result_rows(
        window,
        scored,
        failures,
        source_file=manifest.files[chunk.file].uri,
        labels=model.labels,
        all_scores=manifest.spec.all_scores,
    )


def _of_rows(
    failed: Mapping[int, RowError], kinds: NDArray[np.int64], passages: NDArray[np.int64]
) -> dict[int, RowError]:
    """Return the error of each row of which a passage failed, the first one's.

    Args:
        failed: Why passages of one kind were not scored, by the kind.
        kinds: The kind of each passage [passages], row by row.
        passages: Passages of each row [rows].
    """
    rows = np.repeat(np.arange(len(passages)), passages)
    failures: dict[int, RowError] = {}
    for passage in np.flatnonzero(np.isin(kinds, list(failed))):
        failures.setdefault(int(rows[passage]), failed[int(kinds[passage])])
    return failures


def _tell(window: TokenizedWindow, failures: Mapping[int, RowError]) -> None:
    """Log which rows were not scored, by their numbers within the file."""
    for code in sorted(set(failures.values())):
        places = [place for place, why in sorted(failures.items()) if why is code]
        rows = [window.row_start + int(window.places[place]) for place in places]
        logger.warning(
            "%d rows were not scored [%s]: %s%s",
            len(rows),
            code,
            ", ".join(map(str, rows[:ROWS_TOLD])),
            ", …" if len(rows) > ROWS_TOLD else "",
            extra={"action": "rows_not_scored", "code": code.value},
        )
