"""Recounts a job's result against its manifest and its corpus, and says exactly what is wrong.

Every result is read whole, every id of the corpus once. Memory is bounded by a few results,
whatever the size of corpus and result.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from producer.ahead import map_ahead
from producer.deep_check import DeepCheck
from producer.findings import Finding, FindingKind, Findings
from producer.record_check import (
    check_chunk_table,
    check_letters,
    check_objects,
    check_summary,
    read_counted,
)
from producer.span_check import SpanCheck, check_span, spans_of
from schemas.chunks import Chunk, ChunkTable
from schemas.job import JobId, Manifest, Record
from schemas.manifest import read_chunks, read_manifest
from schemas.storage import Storage
from schemas.survey import Survey, survey

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
        rows_rescored: Rows that were also scored again and compared.
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
    rows_rescored: int
    ids_compared: bool
    findings: tuple[Finding, ...]
    counts: dict[FindingKind, int]


def verify(
    storage: Storage,
    output: str,
    *,
    corpus: bool = True,
    deep: DeepCheck | None = None,
    progress: Progress = lambda _done, _all: None,
) -> VerifyReport:
    """Recount the result of the job under `output`.

    Args:
        storage: Where output and corpus lie.
        output: URI of the job's output.
        corpus: Also compare with the corpus: files as planned, ids equal row by row.
        deep: What scoring a sample again came to; its findings are added.
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

    def check(span: list[Chunk]) -> SpanCheck:
        return check_span(storage, manifest, span, found, counted.results, corpus=corpus)

    done = 0
    spans = spans_of(chunks)
    for checked in map_ahead(check, spans, threads=CONCURRENT_SPANS, name="verify"):
        recount.add(checked)
        done += checked.chunks
        progress(done, len(chunks))
    if deep is not None:
        recount.add_deep(deep)
    # A summary can only be wrong by itself where the results are right.
    if counted.summary is not None and not found.missing and not recount.findings.counts:
        errors, dead = recount.errors, _rows_of(chunks, sorted(found.dead))
        findings = check_summary(
            manifest, counted.summary, recount.scored, recount.scored_by, errors, dead
        )
        recount.findings.add(findings)
    return _report(
        manifest, chunks, found, recount, corpus=corpus, rescored=deep.rows if deep else 0
    )


@dataclass(slots=True)
class _Recount:
    """Sums over all results."""

    scored: int = 0
    missing: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    scored_by: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    bad_files: set[str] = field(default_factory=set)

    def add(self, span: SpanCheck) -> None:
        """Take the checks of one span."""
        for check in span.checks:
            self.scored += check.rows_scored
            self.missing += check.rows_missing
            self.errors += check.errors
            self.scored_by += check.scored_by
            self.findings.add(check.findings)
        if span.corpus_problem:
            self.add_corpus_problem(span.file, span.corpus_problem)

    def add_deep(self, deep: DeepCheck) -> None:
        """Take what scoring a sample again came to."""
        self.findings.add(deep.findings)
        for file, problem in deep.problems.items():
            self.add_corpus_problem(file, problem)

    def add_corpus_problem(self, file: str, problem: str) -> None:
        """Take the first problem of each file."""
        if file not in self.bad_files:
            self.bad_files.add(file)
            self.findings.add([Finding(kind=FindingKind.CORPUS, message=problem)])


def _rows_of(chunks: ChunkTable, numbers: list[int]) -> int:
    return int(chunks.column("rows")[numbers].sum()) if numbers else 0


def _report(
    manifest: Manifest,
    chunks: ChunkTable,
    found: Survey,
    recount: _Recount,
    *,
    corpus: bool,
    rescored: int,
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
        rows_rescored=rescored,
        ids_compared=corpus and bool(manifest.spec.id_columns),
        findings=tuple(recount.findings.kept),
        counts=dict(sorted(recount.findings.counts.items())),
    )
