"""Jobs whose results a test writes row by row, for what reads results: no model scores them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from producer.manifest import create_job
from schemas import layout
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.manifest import read_chunks
from schemas.results import result_schema
from schemas.storage import Storage
from support.stored_jobs import account_of, model_pin, result_bytes

# What a model says of a row: label, score, error.
Said = tuple[str | None, float | None, str | None]
SOURCE = pa.field("id", pa.int64())


def corpus(folder: Path, *sizes: int) -> Path:
    """Write files of so many rows each, numbered by `id` through all of them."""
    folder.mkdir(parents=True)
    first = 0
    for number, size in enumerate(sizes):
        ids = pa.array(range(first, first + size), pa.int64())
        table = pa.table({"id": ids, "text": ["a text"] * size})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=7)
        first += size
    return folder


def scored_job(
    folder: Path,
    name: str,
    source: Path,
    said: Sequence[Said],
    *,
    chunk_rows: int = 10,
    scores: Sequence[list[float] | None] | None = None,
    lengths: Sequence[int] | None = None,
    unknown_tokens: int | None = None,
    left_out: Sequence[int] = (),
    pin: ModelPin | None = None,
    **spec: Any,
) -> Manifest:
    """Create a job whose results say `said` of the rows of `source`, in order.

    Args:
        folder: Where the output lies.
        name: Of output and job.
        source: The corpus, as `corpus` writes it.
        said: What the model says of each row.
        chunk_rows: As in the spec.
        scores: The score of every label, row by row; makes the job one with `--all-scores`.
        lengths: Tokens of each row, 5 when left out.
        unknown_tokens: How many of the tokens of each chunk are unknown.
        left_out: Chunks that have no result.
        pin: The model.
        spec: Further options of the job.
    """
    storage, output = Storage(), str(folder / name)
    asked = {"text_column": "text", "id_columns": ("id",), "all_scores": scores is not None, **spec}
    job = JobSpec(inputs=(str(source),), output=output, model="m", chunk_rows=chunk_rows, **asked)
    manifest = create_job(storage, job, pin or model_pin(), job_id=name)
    first = 0
    chunks = read_chunks(storage, manifest)
    for number in range(len(chunks)):
        chunk = chunks[number]
        uri, rows = manifest.files[chunk.file].uri, said[first : first + chunk.rows]
        labels, values, errors = zip(*rows, strict=True)
        numbers = range(first, first + chunk.rows)
        columns: dict[str, Any] = {
            "id": list(numbers),
            "source_file": [uri] * chunk.rows,
            "source_row": list(range(chunk.row_start, chunk.row_start + chunk.rows)),
            "label": labels,
            "score": values,
            "scores": [scores[n] for n in numbers] if scores else None,
            "n_tokens": [lengths[n] if lengths else 5 for n in numbers],
            "truncated": [False] * chunk.rows,
            "error": errors,
        }
        ids = [SOURCE] if "id" in job.id_columns else []
        schema = result_schema(ids, all_scores=job.all_scores)
        table = pa.table({field.name: columns[field.name] for field in schema}, schema=schema)
        account = account_of(
            number,
            job_id=name,
            rows=chunk.rows,
            rows_scored=chunk.rows,
            tokens=sum(columns["n_tokens"]),
            unknown_tokens=unknown_tokens,
        )
        if number not in left_out:
            storage.create(layout.result(output, number), result_bytes(table, account))
        first += chunk.rows
    return manifest
