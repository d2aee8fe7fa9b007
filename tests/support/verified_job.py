"""A job whose results a test writes, sound or wrong, to be verified."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from producer.findings import FindingKind
from producer.manifest import create_job
from producer.verify import VerifyReport, verify
from schemas import layout
from schemas.dead_letter import DeadLetter
from schemas.finalize import finalize
from schemas.generation import Generation
from schemas.job import JobSpec, Manifest
from schemas.manifest import read_chunks
from schemas.results import ResultAccount, result_schema
from schemas.storage import Storage
from schemas.survey import survey
from support import corpora
from support.stored_jobs import model_pin, result_bytes

Change = Callable[[dict[str, list[Any]]], None]
MODEL = model_pin()
ROWS_PER_FILE = 50


class VerifiedJob:
    """A job of 3 files of 50 rows in chunks of 10, whose results the test writes."""

    def __init__(self, folder: Path, *, rows: int = ROWS_PER_FILE, **spec: Any) -> None:
        """Plan the job; further options are those of its spec."""
        self.storage = Storage()
        self.corpus = [
            corpora.write_table(
                folder / "corpus" / f"{number}.parquet",
                corpora.make_table(["one text"] * rows, first_id=number * rows),
                row_group_rows=30,
                use_dictionary=False,
            )
            for number in range(3)
        ]
        self.output = str(folder / "scored")
        job = JobSpec(
            inputs=(str(folder / "corpus"),),
            output=self.output,
            model="models/sentiment",
            text_column="text",
            **{"id_columns": ("id",), "chunk_rows": 10, **spec},
        )
        self.manifest: Manifest = create_job(self.storage, job, MODEL)
        self.chunks = read_chunks(self.storage, self.manifest)

    def score_all(self) -> None:
        """Write a sound result of every chunk."""
        for chunk in range(len(self.chunks)):
            self.score(chunk)

    def score(self, number: int, change: Change = lambda _: None, **account: Any) -> None:
        """Write a sound result, changed by `change`; its account is that of the sound one."""
        chunk = self.chunks[number]
        uri = self.manifest.files[chunk.file].uri
        rows = range(chunk.row_start, chunk.row_start + chunk.rows)
        errors = [None if row % 7 else "text_blank" for row in rows]
        ids = pq.read_table(uri, columns=["id"]).column(0).to_pylist()
        columns: dict[str, list[Any]] = {
            "id": [ids[row] for row in rows],
            "source_file": [uri] * chunk.rows,
            "source_row": list(rows),
            "label": ["positive" if error is None else None for error in errors],
            "score": [0.75 if error is None else None for error in errors],
            "scores": [[0.25, 0.75] if error is None else None for error in errors],
            "n_tokens": [3 if error is None else 0 for error in errors],
            "truncated": [False] * chunk.rows,
            "error": errors,
        }
        told = ResultAccount(
            **{
                "job_id": self.manifest.job_id,
                "chunk": number,
                "generation": 0,
                "attempt": 1,
                "model": "models/sentiment",
                "model_digest": MODEL.digest,
                "rows": chunk.rows,
                "rows_scored": errors.count(None),
                "errors": {"text_blank": errors.count("text_blank")} if any(errors) else {},
                "tokens": 3 * errors.count(None),
                "truncated_rows": 0,
                "seconds": 0.1,
                "worker": "w",
                "device": "cpu",
                "dtype": "fp32",
                "libraries": {},
                **account,
            }
        )
        change(columns)
        own = result_schema(
            [pa.field("id", pa.string())] if self.manifest.spec.id_columns else [],
            all_scores=self.manifest.spec.all_scores,
        )
        schema = pa.schema([field.with_nullable(True) for field in own])
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        path = Path(layout.result(self.output, number))
        path.write_bytes(result_bytes(table, told))

    def bury(self, number: int, generation: int = 0, **changes: Any) -> None:
        """Write the dead letter of a chunk, with changes."""
        chunk = self.chunks[number]
        letter = DeadLetter(
            job_id=self.manifest.job_id,
            chunk=number,
            generation=generation,
            code="input_corrupt",
            message="m",
            traceback="",
            worker="w",
            buried_at=datetime.now(UTC),
            attempts=(),
            file=self.manifest.files[chunk.file],
            row_start=chunk.row_start,
            rows=chunk.rows,
        )
        body = letter.model_copy(update=changes).model_dump_json().encode()
        self.storage.create(layout.dead_letter(self.output, number, generation), body)

    def send_again(self, *numbers: int, generation: int = 1) -> None:
        """Record that chunks were sent again."""
        record = Generation(
            job_id=self.manifest.job_id,
            number=generation,
            created_at=datetime.now(UTC),
            chunks=numbers,
        )
        body = record.model_dump_json().encode()
        self.storage.create(layout.generation(self.output, generation), body)

    def end(self) -> None:
        """Write summary and marker as the reconciler does."""
        finalize(self.storage, self.manifest, survey(self.storage, self.manifest))

    def verify(self, **options: Any) -> VerifyReport:
        """Recount the results."""
        return verify(self.storage, self.output, **options)


def kinds(report: VerifyReport) -> list[FindingKind]:
    """Return which kinds of findings there are."""
    return sorted(report.counts)


def drop(*places: int) -> Change:
    """Return the change that leaves out the rows at these places."""

    def change(columns: dict[str, list[Any]]) -> None:
        for values in columns.values():
            values[:] = [value for place, value in enumerate(values) if place not in places]

    return change


def put(column: str, place: int, value: Any) -> Change:
    """Return the change that writes `value` into a row."""
    return lambda columns: columns[column].__setitem__(place, value)
