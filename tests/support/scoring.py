"""Scoring chunks of a planned job in this process, without broker or command line."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from producer.manifest import create_job
from schemas import layout
from schemas.job import JobSpec, Manifest
from schemas.manifest import read_chunks
from schemas.results import ResultAccount
from schemas.storage import Storage
from worker.careful import Notes
from worker.chunk import score_chunk
from worker.models import LoadedModel


def plan_job(
    storage: Storage,
    corpus: str | Path,
    output: str | Path,
    model: LoadedModel,
    beside: Sequence[LoadedModel] = (),
    **spec: Any,
) -> Manifest:
    """Create a job over the corpus; further options are those of `JobSpec`."""
    refs = [further.pin.ref for further in beside]
    asked = {"text_column": "text", "id_columns": ("id",), "further_models": tuple(refs), **spec}
    job = JobSpec(inputs=(str(corpus),), output=str(output), model=model.pin.ref, **asked)
    return create_job(storage, job, model.pin, *(m.pin for m in beside), job_id="job")


def score(
    storage: Storage,
    manifest: Manifest,
    model: LoadedModel,
    chunk: int = 0,
    *,
    beside: Sequence[LoadedModel] = (),
    attempt: int = 1,
    progress: Callable[[int], None] = lambda _tokens: None,
    notes: Notes | None = None,
) -> ResultAccount | None:
    """Make an attempt at one chunk."""
    return score_chunk(
        storage=storage,
        manifest=manifest,
        chunk=read_chunks(storage, manifest)[chunk],
        models=(model, *beside),
        attempt=attempt,
        generation=2,
        worker="w@test",
        progress=progress,
        notes=notes,
    )


def score_all(
    storage: Storage,
    manifest: Manifest,
    model: LoadedModel,
    beside: Sequence[LoadedModel] = (),
) -> list[ResultAccount]:
    """Score every chunk and return the accounts."""
    accounts = [score(storage, manifest, model, n, beside=beside) for n in range(manifest.chunks)]
    return [account for account in accounts if account is not None]


def result_of(storage: Storage, manifest: Manifest) -> pa.Table:
    """Return the rows of all results, chunk by chunk."""
    parts = []
    for chunk in range(manifest.chunks):
        with storage.open(layout.result(manifest.spec.output, chunk)) as stream:
            parts.append(pq.read_table(stream))
    return pa.concat_tables(parts)


def threads_beside() -> list[str]:
    """Return the names of the threads that read ahead or write behind."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("prefetch", "write-behind"))]
