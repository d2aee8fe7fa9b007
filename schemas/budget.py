"""What a job's error budget comes to: how many rows with an error and dead chunks it may have."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schemas.generation import Generation
from schemas.job import ErrorBudget, Manifest

# The counter that passed its limit, by the name that ledger and summary use.
StoppedBy = Literal["rows_error", "chunks_dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The error budget in absolute numbers, None for no limit; one more stops the job."""

    rows_error: int | None = None
    chunks_dead: int | None = None

    def passed(self, *, rows_error: int, chunks_dead: int) -> StoppedBy | None:
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
