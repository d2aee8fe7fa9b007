"""What verification finds wrong: kept in full for the first few of each kind, counted for all."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.chunks import Chunk
from schemas.job import Record

# Findings of one kind that are kept with their message; the others are counted.
KEPT_PER_KIND = 10


class FindingKind(StrEnum):
    """What can be wrong with a result."""

    CHUNK_TABLE = "chunk_table"  # does not cover every row of the corpus once
    RESULT_DAMAGED = "result_damaged"
    RESULT_CHANGED = "result_changed"  # whole, but not the one that the summary counts
    RESULT_SCHEMA = "result_schema"
    ACCOUNT = "account"  # the result says other things of itself than its rows do
    ROWS_MISSING = "rows_missing"
    ROWS_TWICE = "rows_twice"
    ROWS_FOREIGN = "rows_foreign"
    ROWS_DISORDERED = "rows_disordered"
    ROW_VALUES = "row_values"  # error and scores together, neither of them, no known label
    IDS = "ids"
    RESCORED = "rescored"  # another label or score than the model gives now
    CORPUS = "corpus"  # not as planned, so that ids cannot be compared
    DEAD_LETTER = "dead_letter"
    FOREIGN_OBJECT = "foreign_object"
    MARKER = "marker"
    SUMMARY = "summary"


class Finding(Record):
    """One thing that is wrong, and how many rows (or objects) it concerns."""

    kind: FindingKind
    message: str
    chunk: int | None = None
    count: int = 1


def of_result(kind: FindingKind, chunk: Chunk, text: str, count: int) -> Finding:
    """Return what is wrong with the result of a chunk, as in `lacks 3 rows`."""
    message = f"result of chunk {chunk.index} {text}"
    return Finding(kind=kind, chunk=chunk.index, count=count, message=message)


@dataclass(slots=True)
class Findings:
    """All that was found, with a bound on what is kept."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[FindingKind] = field(default_factory=Counter)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take findings, and forget all but the number of those beyond the first few."""
        for finding in findings:
            self.counts[finding.kind] += 1
            if self.counts[finding.kind] <= KEPT_PER_KIND:
                self.kept.append(finding)
