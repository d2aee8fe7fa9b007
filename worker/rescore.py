"""Scores a sample of a job's rows once more, each alone: what `bulkscore verify --deep` runs.

Takes a `RescoreRequest` on standard input and gives a `RescoredChunk` a line. Always in fp32, the
format that the others are measured against.
"""

import sys
from collections.abc import Collection, Iterator, Sequence

from schemas.chunks import Chunk
from schemas.errors import (
    BulkError,
    InputChanged,
    InputCorrupt,
    InputMissing,
    RowError,
    SchemaMismatch,
)
from schemas.job import LongText, Manifest
from schemas.manifest import read_chunks, read_manifest
from schemas.rescore import RescoredChunk, RescoredRow, RescoreRequest
from schemas.settings import StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.reader import read_windows
from worker.score import score_texts

_CORPUS_ERRORS = (InputMissing, InputChanged, InputCorrupt, SchemaMismatch)


def main() -> int:
    """Answer the request on standard input; return the exit code."""
    request = RescoreRequest.model_validate_json(sys.stdin.buffer.read())
    try:
        storage = Storage(load(StorageSettings))
        manifest = read_manifest(storage, request.output)
        models = _load_pinned(storage, manifest)
        for answer in rescore(storage, manifest, request, models):
            print(answer.model_dump_json(), flush=True)
    except BulkError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


def rescore(
    storage: Storage, manifest: Manifest, request: RescoreRequest, models: Sequence[LoadedModel]
) -> Iterator[RescoredChunk]:
    """Yield what the rows of each chunk get, in the order of the request.

    A file of the corpus that cannot be read, or is not the one that was planned, is a `problem`.
    """
    chunks = read_chunks(storage, manifest)
    for asked in request.chunks:
        try:
            texts = _texts(storage, manifest, chunks[asked.chunk], set(asked.rows))
        except _CORPUS_ERRORS as error:
            yield RescoredChunk(chunk=asked.chunk, problem=str(error))
            continue
        how = manifest.spec.long_text
        rows = (
            tuple(_rescored(model, how, row, *text) for row, text in texts.items())
            for model in models
        )
        yield RescoredChunk(chunk=asked.chunk, models=tuple(rows))


def _load_pinned(storage: Storage, manifest: Manifest) -> list[LoadedModel]:
    settings = load(WorkerSettings)
    store = ModelStore(storage, settings.model_cache_dir)
    return [
        load_model(
            store,
            pin,
            max_length=manifest.spec.max_length,
            dtype="fp32",
            device=settings.device,
            threads=settings.torch_threads,
        )
        for pin in manifest.models
    ]


def _texts(
    storage: Storage, manifest: Manifest, chunk: Chunk, rows: Collection[int]
) -> dict[int, tuple[str, RowError | None]]:
    """Return the text of each of `rows`, or why it has none."""
    found = {}
    windows = read_windows(
        storage,
        manifest.files[chunk.file],
        chunk,
        text_column=manifest.spec.text_column,
        id_columns=(),
    )
    for window in windows:
        for place, row in enumerate(range(window.row_start, window.row_start + len(window))):
            if row in rows:
                found[row] = window.texts.values[place].as_py(), window.texts.errors[place]
    return found


def _rescored(
    model: LoadedModel, long_text: LongText, row: int, text: str, error: RowError | None
) -> RescoredRow:
    if error is not None:
        return RescoredRow(row=row, error=error)
    (got,) = score_texts(model, [text], long_text)
    if got.scores is None:
        return RescoredRow(row=row, error=got.error)
    return RescoredRow(
        row=row,
        scores=tuple(got.scores[label] for label in model.labels),
        n_tokens=got.n_tokens,
        truncated=got.truncated,
    )


if __name__ == "__main__":
    sys.exit(main())
