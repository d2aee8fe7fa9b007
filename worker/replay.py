"""Score a chunk of a job again in this process: `python -m worker.replay OUTPUT --chunk 42`.

With the manifest's settings and the model it pins, as a worker would. The result goes to a folder
of its own, and is thrown away: nothing is written to the job, its ledger or its queue.
"""

import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from schemas import layout
from schemas.chunks import Chunk
from schemas.errors import BulkError, ExitCode, UsageError
from schemas.generation import generation_of_chunks, read_generations
from schemas.job import Manifest
from schemas.logs import describe, frames_of, set_up_logging
from schemas.manifest import read_chunks, read_manifest
from schemas.results import ResultAccount
from schemas.settings import StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from schemas.trail import Trail
from worker.careful import Notes
from worker.chunk import score_chunk
from worker.jobs import OpenJob
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.stages import StageClock

# Row numbers shown for each code.
ROWS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What scoring a chunk again came to.

    Attributes:
        rows: The rows that were scored, within their file, the last one not included.
        account: What the result says of itself; None where there is none.
        bad_rows: Rows without a score by the code of their error, the first few of each.
        stages: Seconds in each stage.
        error: What ended it.
    """

    chunk: int
    file: str
    rows: tuple[int, int]
    account: ResultAccount | None = None
    bad_rows: dict[str, list[int]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    error: BaseException | None = None


def main(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The URI of a job's output.")],
    chunk: Annotated[int, typer.Option(min=0, help="Number of the chunk.")],
    rows: Annotated[
        str | None, typer.Option(metavar="A:B", help="Only rows A up to B of its file.")
    ] = None,
    careful: Annotated[bool, typer.Option(help="Say each piece before it is scored.")] = False,
    verbatim: Annotated[bool, typer.Option(help="Show errors as raised; may quote a row.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Score a chunk again, and print what became of it."""
    settings = load(WorkerSettings, device=device)
    set_up_logging(format_name=settings.log_format, level=settings.log_level)
    try:
        storage = Storage(load(StorageSettings))
        job = _open(storage, output)
        if chunk >= len(job.chunks):
            raise UsageError(f"the job has the chunks 0 to {len(job.chunks) - 1}")
        part = narrowed(job.chunks[chunk], rows)
        models = _models(storage, job, chunk, settings)
        done = replay(storage, job.manifest, part, models, notes=_notes() if careful else None)
    except BulkError as error:
        print(f"error [{error.code}]: {error}", file=sys.stderr)
        raise typer.Exit(int(error.exit_code)) from None
    for line in told(done, verbatim=verbatim):
        print(line)
    raise typer.Exit(int(ExitCode.DEAD_CHUNKS if done.error else ExitCode.OK))


def replay(
    storage: Storage,
    manifest: Manifest,
    chunk: Chunk,
    models: list[LoadedModel],
    *,
    notes: Notes | None = None,
) -> Replayed:
    """Score `chunk` with its result in a temporary folder; an error is returned, not raised."""
    clock = StageClock()
    done = Replayed(
        chunk=chunk.index,
        file=manifest.files[chunk.file].uri,
        rows=(chunk.row_start, chunk.row_start + chunk.rows),
    )
    with tempfile.TemporaryDirectory(prefix="bulkscore-replay-") as folder:
        spec = manifest.spec.model_copy(update={"output": folder})
        try:
            account = score_chunk(
                storage=storage,
                manifest=manifest.model_copy(update={"spec": spec}),
                chunk=chunk,
                models=models,
                attempt=1,
                generation=0,
                worker="replay",
                progress=lambda _tokens: None,
                notes=notes,
                clock=clock,
            )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a native panic is no Exception
            return replace(done, error=error, stages=clock.seconds)
        bad = bad_rows(Path(layout.result(folder, chunk.index)))
    return replace(done, account=account, bad_rows=bad, stages=clock.seconds)


def narrowed(chunk: Chunk, rows: str | None) -> Chunk:
    """Return the part of a chunk that `rows`, A:B within its file, names.

    Raises:
        UsageError: The chunk has none of these rows.
    """
    if rows is None:
        return chunk
    first, _, end = rows.partition(":")
    low, high = chunk.row_start, chunk.row_start + chunk.rows
    if not (first.isdecimal() and end.isdecimal() and low <= int(first) < int(end) <= high):
        raise UsageError(f"--rows {rows}: expected A:B within {low}:{high}, the rows of the chunk")
    return replace(chunk, row_start=int(first), rows=int(end) - int(first))


def bad_rows(result: Path) -> dict[str, list[int]]:
    """Return the rows without a score by the code of their error, the first few of each."""
    table = pq.read_table(result, columns=["source_row", "error"])
    bad = table.filter(pc.is_valid(table["error"]))
    found: dict[str, list[int]] = {}
    for row, code in zip(bad["source_row"].to_pylist(), bad["error"].to_pylist(), strict=True):
        rows = found.setdefault(code, [])
        if len(rows) < ROWS_SHOWN:
            rows.append(row)
    return found


def told(done: Replayed, *, verbatim: bool) -> Iterator[str]:
    """Yield what is printed of a chunk that was scored again."""
    yield f"chunk {done.chunk}: rows {done.rows[0]:,} to {done.rows[1] - 1:,} of {done.file}"
    account = done.account
    if account is not None:
        yield f"scored {account.rows_scored:,} of {account.rows:,} rows on {account.device}"
        for code, count in account.errors.items():
            rows = ", ".join(map(str, done.bad_rows.get(code, ())))
            more = ", …" if count > ROWS_SHOWN else ""
            yield f"  {count:,} {code}: rows {rows}{more}"
    yield "; ".join(f"{name} {seconds:.3f} s" for name, seconds in done.stages.items())
    if done.error is not None:
        code = done.error.code if isinstance(done.error, BulkError) else "unexpected"
        yield f"failed [{code}]: {describe(done.error)}"
        whole = "".join(traceback.format_exception(done.error))
        yield whole if verbatim else frames_of(done.error)


def _open(storage: Storage, output: str) -> OpenJob:
    """Return the job as its objects describe it now."""
    manifest = read_manifest(storage, output)
    records = read_generations(storage, output)
    return OpenJob(
        manifest=manifest,
        chunks=read_chunks(storage, manifest),
        generation=len(records),
        overrides=generation_of_chunks(records),
    )


def _models(
    storage: Storage, job: OpenJob, chunk: int, settings: WorkerSettings
) -> list[LoadedModel]:
    spec, started = job.manifest.spec, time.monotonic()
    store = ModelStore(storage, settings.model_cache_dir)
    models = [
        load_model(
            store,
            pin,
            max_length=spec.max_length,
            dtype=spec.dtype,
            device=settings.device,
            token_budget=job.token_budget(chunk),
            threads=settings.torch_threads,
        )
        for pin in job.manifest.models
    ]
    print(f"model {job.manifest.model_refs}, loaded in {time.monotonic() - started:.1f} s")
    return models


def _notes() -> Notes:
    """Return notes that are said: the last one stands when the process is killed."""
    return Notes(Trail(), lambda trail: print(trail.at, file=sys.stderr, flush=True))


if __name__ == "__main__":
    typer.run(main)
