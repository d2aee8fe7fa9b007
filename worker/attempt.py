"""One attempt at one chunk, and the ways it can end."""

from dataclasses import dataclass, field
from typing import Literal

from schemas.attempt_log import AttemptEvent
from schemas.ledger import BeginOutcome
from worker.journal import Journal

Outcome = BeginOutcome | Literal["handed_back", "lease_lost", "retrying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that has begun: it holds the lease under `token`.

    `forgiven` earlier ones do not count when it is decided whether to try again.
    """

    job_id: str
    chunk: int
    number: int
    generation: int
    token: str
    output: str
    forgiven: int = 0
    journal: Journal = field(default_factory=Journal, compare=False, repr=False)

    @property
    def tries(self) -> int:
        """How often the chunk was tried, this time included."""
        return self.number - self.forgiven

    @property
    def names(self) -> dict[str, object]:
        """What a log line about this attempt carries."""
        return {"job_id": self.job_id, "chunk": self.chunk, "attempt": self.number}

    def ended(self, outcome: Outcome, worker: str) -> AttemptEvent:
        """Return how it ended, as the ledger keeps it."""
        return self.journal.event(
            outcome,
            chunk=self.chunk,
            attempt=self.number,
            generation=self.generation,
            worker=worker,
            token=self.token,
        )
