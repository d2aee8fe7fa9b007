"""The cutting of a corpus into chunks. Pure: from what the footers say to a chunk table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.chunks import ChunkTable
from schemas.job import InputFile, SkippedFile

if TYPE_CHECKING:
    from producer.footers import Footer


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What a plan comes to, in numbers; `tokens_estimate` is a guess from bytes, no count."""

    files: int
    files_skipped: int
    file_bytes: int
    row_groups: int
    rows: int
    text_bytes: int
    tokens_estimate: int
    chunks: int
    target_text_bytes: int
    smallest_chunk_rows: int
    largest_chunk_rows: int
    smallest_chunk_text_bytes: int
    largest_chunk_text_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A corpus, cut: the files in order, what was left out, and the chunks."""

    files: tuple[InputFile, ...]
    skipped: tuple[SkippedFile, ...]
    chunks: ChunkTable
    report: PlanReport


def cut(footers: "Sequence[Footer]", *, chunk_rows: int) -> ChunkTable:
    """Cut the files into chunks of about the same amount of text."""
    raise NotImplementedError
