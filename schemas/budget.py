"""What stops a job before its end: an error budget that is passed, or an error of every chunk."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.errors import BulkError
from schemas.generation import Generation
from schemas.job import ErrorBudget, Manifest

# The counter that passed its limit, by the name that ledger and summary use.
BudgetName = Literal["rows_error", "chunks_dead"]

MAX_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """The error that every chunk of a job would meet, as ledger and summary keep it."""

    code: str
    message: str

    @classmethod
    def of(cls, error: BulkError) -> "Halt":
        """Return what is kept of an error: its code, and one line of bounded length."""
        line = " ".join(str(error).split())
        if len(line) > MAX_MESSAGE_CHARACTERS:
            line = f"{line[: MAX_MESSAGE_CHARACTERS - 1]}…"
        return cls(code=error.code, message=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The error budget in absolute numbers, None for no limit; one more stops the job."""

    rows_error: int | None = None
    chunks_dead: int | None = None

    def passed(self, *, rows_error: int, chunks_dead: int) -> BudgetName | None:
        """Return the limit that these counts are above, or None while they keep within both."""
        if self.rows_error is not None and rows_error > self.rows_error:
            return "rows_error"
        if self.chunks_dead is not None and chunks_dead > self.chunks_dead:
            return "chunks_dead"
        return None

    def as_json(self) -> str:
        """Return the limits there are under the names that the ledger uses."""
        limits = {"max_rows_error": self.rows_error, "max_chunks_dead": self.chunks_dead}
        return json.dumps({name: limit for name, limit in limits.items() if limit is not None})


NO_LIMITS = Limits()


def limits_of(manifest: Manifest, generations: Iterable[Generation]) -> Limits:
    """Return the limits of a job: of each budget the newest that was asked for counts."""
    row_errors, dead_chunks = manifest.spec.max_row_errors, manifest.spec.max_dead_chunks
    for record in sorted(generations, key=lambda g: g.number):
        row_errors = record.max_row_errors or row_errors
        dead_chunks = record.max_dead_chunks or dead_chunks
    return Limits(
        rows_error=_limit(row_errors, manifest.rows),
        chunks_dead=_limit(dead_chunks, manifest.chunks),
    )


def _limit(budget: ErrorBudget | None, total: int) -> int | None:
    return None if budget is None else budget.limit(total)
