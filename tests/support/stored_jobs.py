"""Jobs as they lie under an output, made without a model: manifest, results and dead letters."""

import hashlib
import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import layout
from schemas.chunks import Chunk, ChunkTable, sha256_of
from schemas.dead_letter import AttemptRecord, DeadLetter
from schemas.generation import Generation
from schemas.job import InputFile, JobSpec, Manifest, ModelPin
from schemas.results import ResultAccount, footer_metadata
from schemas.storage import Storage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHUNK_ROWS = 10
JOB = "nightly"


def store_job(
    storage: Storage, output: str, *, chunks: int = 4, job_id: str = JOB, **spec: Any
) -> Manifest:
    """Create manifest and chunk table of a job whose chunks have ten rows each."""
    table = ChunkTable.from_chunks(
        Chunk(index=n, file=0, row_start=n * CHUNK_ROWS, rows=CHUNK_ROWS, text_bytes=1_000)
        for n in range(chunks)
    )
    manifest = make_manifest(output, table, job_id, **spec)
    uri = layout.chunk_table(output, manifest.chunk_table_sha256)
    storage.create(uri, table.to_bytes())
    storage.create(layout.manifest(output), manifest.model_dump_json().encode())
    return manifest


def model_pin(**changes: Any) -> ModelPin:
    """Return the pin of a model of two labels that is nowhere."""
    values: dict[str, Any] = {
        "ref": "models/sentiment",
        "name": "sentiment",
        "uri": "/models/sentiment",
        "digest": "d" * 64,
        "files": (),
        "model_type": "bert",
        "problem_type": "single_label_classification",
        "labels": ("negative", "positive"),
        "max_length": 512,
    }
    return ModelPin(**{**values, **changes})


def make_manifest(output: str, table: ChunkTable, job_id: str, **spec: Any) -> Manifest:
    """Return the manifest of a job with one input file."""
    rows = CHUNK_ROWS * len(table)
    model = model_pin(ref="model", name="model", uri="model", digest="0" * 64, max_length=128)
    asked = {"inputs": ("corpus.parquet",), "model": "model", "text_column": "text", **spec}
    return Manifest(
        job_id=job_id,
        created_at=NOW,
        bulkscore_version="0",
        spec=JobSpec(output=output, **asked),
        model=model,
        files=(InputFile(uri="corpus.parquet", size=1, etag="e", rows=rows, row_groups=1),),
        rows=rows,
        chunks=len(table),
        text_bytes=1_000 * len(table),
        chunk_table_sha256=sha256_of(table.to_bytes()),
    )


def account_of(chunk: int, *, job_id: str = JOB, nulls: int = 0, **changes: Any) -> ResultAccount:
    """Return the account of a result of ten rows, of which `nulls` were null."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "chunk": chunk,
        "generation": 0,
        "attempt": 1,
        "model": "model",
        "model_digest": "0" * 64,
        "rows": CHUNK_ROWS,
        "rows_scored": CHUNK_ROWS - nulls,
        "errors": {"text_null": nulls} if nulls else {},
        "tokens": 70,
        "truncated_rows": 1,
        "seconds": 0.5,
        "worker": "w1",
        "device": "cpu",
        "dtype": "fp32",
        "libraries": {},
    }
    return ResultAccount(**{**values, **changes})


def store_result(
    storage: Storage, manifest: Manifest, chunk: int, *, nulls: int = 0, **changes: Any
) -> ResultAccount:
    """Create the result of a chunk and return its account; its rows are left out."""
    account = account_of(chunk, job_id=manifest.job_id, nulls=nulls, **changes)
    table = pa.table({"source_row": pa.array(range(account.rows), pa.int64())})
    uri = layout.result(manifest.spec.output, chunk)
    assert storage.create(uri, result_bytes(table, account))
    return account


def result_bytes(table: pa.Table, account: ResultAccount) -> bytes:
    """Return a result object of these rows with this account, whether it is theirs or not."""
    content = io.BytesIO()
    with pq.ParquetWriter(content, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        data_sha256 = hashlib.sha256(content.getvalue()).hexdigest()
        writer.add_key_value_metadata(footer_metadata(account, data_sha256))
    return content.getvalue()


def store_dead_letter(
    storage: Storage,
    manifest: Manifest,
    chunk: int,
    *,
    generation: int = 0,
    code: str = "input_corrupt",
) -> DeadLetter:
    """Create the dead letter of a chunk."""
    letter = DeadLetter(
        job_id=manifest.job_id,
        chunk=chunk,
        generation=generation,
        code=code,
        message="page 3 cannot be decoded",
        traceback="",
        worker="w1",
        buried_at=NOW,
        attempts=(failed_attempt(code=code),),
        file=manifest.files[0],
        row_start=chunk * CHUNK_ROWS,
        rows=CHUNK_ROWS,
    )
    uri = layout.dead_letter(manifest.spec.output, chunk, generation)
    assert storage.create(uri, letter.model_dump_json().encode())
    return letter


def store_generation(storage: Storage, manifest: Manifest, number: int, chunks: list[int]) -> None:
    """Create the record of a reprocess that sent these chunks again."""
    record = Generation(job_id=manifest.job_id, number=number, created_at=NOW, chunks=tuple(chunks))
    uri = layout.generation(manifest.spec.output, number)
    assert storage.create(uri, record.model_dump_json().encode())


def failed_attempt(number: int = 1, code: str = "storage_unavailable") -> AttemptRecord:
    """Return the record of an attempt that did not end in a result."""
    return AttemptRecord(number=number, worker="w1", code=code, message="no answer", at=NOW)
