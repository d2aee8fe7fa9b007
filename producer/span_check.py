"""Recounts chunk after chunk of one file, so that the corpus beside them is read in order, once."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from producer.id_check import CorpusIds
from producer.record_check import check_counted
from producer.result_check import ChunkCheck, check_result
from schemas.chunks import Chunk, ChunkTable
from schemas.job import Manifest
from schemas.result_table import ResultTable
from schemas.storage import Storage
from schemas.survey import Survey

# Chunks of one file that are checked in a row; the spans of a file are checked side by side.
CHUNKS_PER_SPAN = 64


@dataclass(slots=True, kw_only=True)
class SpanCheck:
    """What was found in the results of some chunks of one file, and whether it is as planned."""

    file: str
    chunks: int
    checks: list[ChunkCheck] = field(default_factory=list)
    corpus_problem: str | None = None


def spans_of(chunks: ChunkTable) -> Iterator[list[Chunk]]:
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


def check_span(
    storage: Storage,
    manifest: Manifest,
    span: list[Chunk],
    found: Survey,
    counted: ResultTable | None,
    *,
    corpus: bool,
) -> SpanCheck:
    """Recount the results of a span and compare their ids with those of the corpus.

    Args:
        storage: Where output and corpus lie.
        manifest: The job.
        span: Chunks of one file, one after the other.
        found: Which of them have a result.
        counted: The results that the summary counts, if there is one.
        corpus: Whether to look at the corpus.
    """
    file = manifest.files[span[0].file]
    checked = SpanCheck(file=file.uri, chunks=len(span))
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
