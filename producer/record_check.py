"""Checks what lies beside the results: chunk table, dead letters, summary, marker, strangers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from producer.ahead import map_ahead
from producer.corpus import is_hidden
from producer.findings import Finding, FindingKind
from schemas import layout
from schemas.chunks import ChunkTable
from schemas.dead_letter import DeadLetter
from schemas.errors import InputMissing, ManifestMissing
from schemas.finalize import read_result_table, read_summary
from schemas.job import Manifest, parse_record
from schemas.result_table import ResultTable
from schemas.states import JobState
from schemas.storage import Storage
from schemas.summary import Summary
from schemas.survey import Survey

CONCURRENT_READS = 8


def check_chunk_table(manifest: Manifest, chunks: ChunkTable) -> Iterator[Finding]:
    """Yield a finding unless the chunks cover every row of every file once and in order."""
    file, start, rows = (chunks.column(name) for name in ("file", "row_start", "rows"))
    file_rows = np.array([f.rows for f in manifest.files], dtype=np.int64)
    inside = bool(np.all((file >= 0) & (file < len(file_rows)) & (rows > 0)))
    # Every row has a number in the whole corpus: then chunks must follow each other without a gap.
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(file_rows)])
    first = before[:-1][file] + start if inside else start
    covers = (
        inside
        and np.array_equal(first, np.cumsum(rows, dtype=np.int64) - rows)
        and bool(np.all(start + rows <= file_rows[file]))
        and int(rows.sum()) == int(before[-1])
    )
    if not covers or len(chunks) != manifest.chunks or int(before[-1]) != manifest.rows:
        message = "the chunk table does not cover every row of the manifest's files once"
        yield Finding(kind=FindingKind.CHUNK_TABLE, message=message)


def check_objects(
    storage: Storage, manifest: Manifest, found: Survey, summary: Summary | None
) -> Iterator[Finding]:
    """Yield the objects that a dataset reader would take for results, and a marker too early."""
    output = manifest.spec.output
    below = len(output) + 1
    for stranger in storage.list_objects(output, recursive=True):
        path = stranger.uri[below:]
        chunk = layout.chunk_of_result(path)
        if not is_hidden(path) and (chunk is None or chunk >= manifest.chunks):
            message = f"{stranger.uri} is no result of this job, but readers will take it for one"
            yield Finding(kind=FindingKind.FOREIGN_OBJECT, message=message)
    marker, reason = layout.success_marker(output), None
    if len(found.results) < manifest.chunks:
        reason = "not every chunk has a result"
    elif summary is not None and summary.state is not JobState.SUCCEEDED:
        reason = f"the summary says that the job has {summary.state}"
    if reason and storage.exists(marker):
        yield Finding(kind=FindingKind.MARKER, message=f"{marker} is there, but {reason}")


def check_letters(
    storage: Storage, manifest: Manifest, chunks: ChunkTable, found: Survey
) -> Iterator[Finding]:
    """Yield the dead letters that still count and are not what their names say."""
    starts, rows = chunks.column("row_start"), chunks.column("rows")

    def check(place: tuple[int, int]) -> str | None:
        chunk, generation = place
        uri = layout.dead_letter(manifest.spec.output, chunk, generation)
        try:
            letter = parse_record(DeadLetter, storage.read(uri), uri)
        except ManifestMissing as error:
            return str(error)
        except InputMissing:
            return None  # cleared away since the survey
        expected = (manifest.job_id, chunk, generation, int(starts[chunk]), int(rows[chunk]))
        told = (letter.job_id, letter.chunk, letter.generation, letter.row_start, letter.rows)
        return None if told == expected else f"{uri} tells of another job, chunk or generation"

    places = sorted(found.dead.items())
    problems = map_ahead(check, places, threads=CONCURRENT_READS, name="verify-letters")
    for (chunk, _), problem in zip(places, problems, strict=True):
        if problem is not None:
            yield Finding(kind=FindingKind.DEAD_LETTER, chunk=chunk, message=problem)


@dataclass(slots=True, kw_only=True)
class Counted:
    """What the summary of a job says, if there is one that can be read; the table goes with it."""

    summary: Summary | None = None
    results: ResultTable | None = None
    findings: list[Finding] = field(default_factory=list)


def read_counted(storage: Storage, output: str) -> Counted:
    """Return the summary and the table of the results it counts; a damaged one is a finding."""
    counted = Counted()
    try:
        counted.summary = read_summary(storage, output)
        counted.results = read_result_table(storage, output, counted.summary)
    except InputMissing:
        return counted
    except ManifestMissing as error:
        counted.findings.append(Finding(kind=FindingKind.SUMMARY, message=str(error)))
    return counted


def check_counted(chunk: int, footer_sha256: bytes, results: ResultTable) -> Iterator[Finding]:
    """Yield a finding when a result is not the one that the summary counted."""
    if results.footer_sha256(chunk) not in (None, footer_sha256):
        message = (
            f"result of chunk {chunk} is not the one that the summary counted: bring that one "
            "back, or delete this one and `bulkscore resume` the output to score the chunk again"
        )
        yield Finding(kind=FindingKind.RESULT_CHANGED, chunk=chunk, message=message)


def check_summary(
    manifest: Manifest,
    summary: Summary,
    rows_scored: int,
    scored_by: Counter[str],
    errors: Counter[str],
    rows_dead: int,
) -> Iterator[Finding]:
    """Yield where the summary counts otherwise."""
    by_model = Counter({model.name: model.rows_scored for model in summary.models})
    for name, said, counted in (
        ("job", summary.job_id, manifest.job_id),
        ("rows", summary.rows, manifest.rows),
        ("rows scored", summary.rows_scored, rows_scored),
        ("rows scored by models", dict(+by_model), dict(+scored_by)),
        ("rows with an error", summary.errors, dict(errors)),
        ("rows of dead chunks", summary.rows_dead, rows_dead),
    ):
        if said != counted:
            uri = layout.summary(manifest.spec.output)
            message = f"{uri} says {name} {said}, counted {counted}"
            yield Finding(kind=FindingKind.SUMMARY, message=message)
