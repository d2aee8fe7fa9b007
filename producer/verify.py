"""Recounts a job's result against its manifest and its corpus, and says exactly what is wrong.

Every result is read whole, every id of the corpus once. Memory is bounded by a few results,
whatever the size of corpus and result.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from producer.ahead import map_ahead
from producer.findings import Finding, FindingKind, Findings
from producer.id_check import CorpusIds
from producer.record_check import (
    check_chunk_table,
    check_counted,
    check_letters,
    check_objects,
    check_summary,
    read_counted,
)
from producer.result_check import ChunkCheck, check_result
from schemas.chunks import Chunk, ChunkTable
from schemas.job import JobId, Manifest, Record
from schemas.manifest import read_chunks, read_manifest
from schemas.result_table import ResultTable
from schemas.storage import Storage
from schemas.survey import Survey, survey

# Chunks of one file that are checked in a row, so that the corpus is read in order and once.
CHUNKS_PER_SPAN = 64
CONCURRENT_SPANS = 4
# Numbers of chunks that the report lists; beyond it only counts.
LISTED_CHUNKS = 100

Progress = Callable[[int, int], None]


class VerifyReport(Record):
    """What a recount came to.

    Attributes:
        sound: Nothing was found that should not be.
        complete: Sound, and every row of the corpus has its result row.
        rows: Rows of the corpus by the manifest.
        rows_scored: Result rows with a score.
        rows_error: Result rows with an error, by code in `errors`.
        rows_dead: Rows of chunks that are buried and not sent again.
        rows_missing: Rows with neither a result row nor a dead letter.
        dead_chunks: The first of them; `missing_chunks` likewise.
        ids_compared: Whether ids were compared with those of the corpus.
        findings: What is wrong, the first few of each kind.
        counts: Number of findings of each kind.
    """

    job_id: JobId
    output: str
    sound: bool
    complete: bool
    rows: int
    rows_scored: int
    rows_error: int
    rows_dead: int
    rows_missing: int
    errors: dict[str, int]
    chunks: int
    chunks_succeeded: int
    chunks_dead: int
    chunks_missing: int
    dead_chunks: tuple[int, ...]
    missing_chunks: tuple[int, ...]
    ids_compared: bool
    findings: tuple[Finding, ...]
    counts: dict[FindingKind, int]


def verify(
    storage: Storage,
    output: str,
    *,
    corpus: bool = True,
    progress: Progress = lambda _done, _all: None,
) -> VerifyReport:
    """Recount the result of the job under `output`.

    Args:
        storage: Where output and corpus lie.
        output: URI of the job's output.
        corpus: Also compare with the corpus: files as planned, ids equal row by row.
        progress: Told how many of all chunks are checked.

    Raises:
        ManifestMissing: There is no job, or its manifest or chunk table is damaged.
        StorageUnavailable: Storage does not answer.
    """
    manifest = read_manifest(storage, output)
    chunks = read_chunks(storage, manifest)
    counted = read_counted(storage, manifest.spec.output)
    found = survey(storage, manifest)
    recount = _Recount()
    recount.findings.add(counted.findings)
    recount.findings.add(check_chunk_table(manifest, chunks))
    recount.findings.add(check_objects(storage, manifest, found, counted.summary))
    recount.findings.add(check_letters(storage, manifest, chunks, found))

    def check(span: list[Chunk]) -> "_SpanCheck":
        return _check_span(storage, manifest, span, found, counted.results, corpus=corpus)

    done = 0
    spans = _spans(chunks)
    for checked in map_ahead(check, spans, threads=CONCURRENT_SPANS, name="verify"):
        recount.add(checked)
        done += checked.chunks
        progress(done, len(chunks))
    # A summary can only be wrong by itself where the results are right.
    if counted.summary is not None and not found.missing and not recount.findings.counts:
        errors, dead = recount.errors, _rows_of(chunks, sorted(found.dead))
        findings = check_summary(manifest, counted.summary, recount.scored, errors, dead)
        recount.findings.add(findings)
    return _report(manifest, chunks, found, recount, corpus=corpus)


@dataclass(slots=True, kw_only=True)
class _SpanCheck:
    file: str
    chunks: int
    checks: list[ChunkCheck] = field(default_factory=list)
    corpus_problem: str | None = None


@dataclass(slots=True)
class _Recount:
    """Sums over all results."""

    scored: int = 0
    missing: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    bad_files: set[str] = field(default_factory=set)

    def add(self, span: _SpanCheck) -> None:
        for check in span.checks:
            self.scored += check.rows_scored
            self.missing += check.rows_missing
            self.errors += check.errors
            self.findings.add(check.findings)
        if span.corpus_problem and span.file not in self.bad_files:
            self.bad_files.add(span.file)
            self.findings.add([Finding(kind=FindingKind.CORPUS, message=span.corpus_problem)])


def _spans(chunks: ChunkTable) -> Iterator[list[Chunk]]:
    """Yield consecutive chunks of one file, a bounded number at a time."""
    columns = [chunks.column(name) for name in ("file", "row_start", "rows", "text_bytes")]
    borders = [0, *(np.flatnonzero(np.diff(columns[0])) + 1).tolist(), len(chunks)]
    for first, last in pairwise(borders):
        for start in range(first, last, CHUNKS_PER_SPAN):
            end = min(start + CHUNKS_PER_SPAN, last)
            values = zip(*(column[start:end].tolist() for column in columns), strict=True)
            yield [
                Chunk(index=index, file=file, row_start=row_start, rows=rows, text_bytes=size)
                for index, (file, row_start, rows, size) in enumerate(values, start=start)
            ]


def _check_span(
    storage: Storage,
    manifest: Manifest,
    span: list[Chunk],
    found: Survey,
    counted: ResultTable | None,
    *,
    corpus: bool,
) -> _SpanCheck:
    file = manifest.files[span[0].file]
    checked = _SpanCheck(file=file.uri, chunks=len(span))
    with ExitStack() as opened:
        ids = None
        if corpus:
            columns, first_row = manifest.spec.id_columns, span[0].row_start
            ids = opened.enter_context(CorpusIds(storage, file, columns, first_row=first_row))
        for chunk in span:
            if chunk.index in found.results:
                check = check_result(storage, manifest, chunk)
                if ids is not None and check.ids is not None:
                    check.findings += ids.compare(chunk, check.ids)
                if counted is not None and check.footer_sha256 is not None:
                    check.findings += check_counted(chunk.index, check.footer_sha256, counted)
                check.ids = None  # counted; only the counts are kept
                checked.checks.append(check)
    checked.corpus_problem = ids.problem if ids is not None else None
    return checked


def _rows_of(chunks: ChunkTable, numbers: list[int]) -> int:
    return int(chunks.column("rows")[numbers].sum()) if numbers else 0


def _report(
    manifest: Manifest, chunks: ChunkTable, found: Survey, recount: _Recount, *, corpus: bool
) -> VerifyReport:
    missing, dead = found.missing, sorted(found.dead)
    sound = not recount.findings.counts
    return VerifyReport(
        job_id=manifest.job_id,
        output=manifest.spec.output,
        sound=sound,
        complete=sound and not missing and not dead,
        rows=manifest.rows,
        rows_scored=recount.scored,
        rows_error=recount.errors.total(),
        rows_dead=_rows_of(chunks, dead),
        rows_missing=recount.missing + _rows_of(chunks, missing),
        errors=dict(sorted(recount.errors.items())),
        chunks=manifest.chunks,
        chunks_succeeded=len(found.results),
        chunks_dead=len(dead),
        chunks_missing=len(missing),
        dead_chunks=tuple(dead[:LISTED_CHUNKS]),
        missing_chunks=tuple(missing[:LISTED_CHUNKS]),
        ids_compared=corpus and bool(manifest.spec.id_columns),
        findings=tuple(recount.findings.kept),
        counts=dict(sorted(recount.findings.counts.items())),
    )
