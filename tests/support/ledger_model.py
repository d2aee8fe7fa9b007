"""The ledger of one job in plain Python, to hold the one on Redis to. Time is left out."""

from collections import Counter
from dataclasses import dataclass, field

from schemas.budget import Limits
from schemas.states import LEGAL_MOVES, ChunkState, JobState
from support.ledger_moves import CANCELLED, DEAD, QUEUED, RETRYING, RUNNING, SUCCEEDED

PENDING = (QUEUED, RETRYING)


@dataclass
class Lease:
    """Who holds a chunk, and whether the claim has run out."""

    token: str
    worker: str
    expired: bool


@dataclass
class LedgerModel:
    """What the ledger must say of a job."""

    states: list[ChunkState]
    job: JobState = JobState.RUNNING
    generation: int = 0
    closed: bool = False
    active: bool = True
    leases: dict[int, Lease] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    backing_off: set[int] = field(default_factory=set)
    halted_by: str = ""
    stopped_by: str | None = None
    stopped_message: str = ""
    limits: Limits = field(default_factory=Limits)
    trails: dict[int, str] = field(default_factory=dict)

    @property
    def pending(self) -> set[int]:
        """The chunks that somebody has yet to score."""
        return {chunk for chunk, state in enumerate(self.states) if state in PENDING}

    @property
    def histogram(self) -> dict[ChunkState, int]:
        """How many chunks are in each state."""
        return {state: self.states.count(state) for state in ChunkState}

    def move(self, chunk: int, to: ChunkState) -> None:
        """Put a chunk into another state; what the table of moves forbids is a bug of the test."""
        assert to in LEGAL_MOVES[self.states[chunk]]
        self.states[chunk] = to
        self.backing_off.discard(chunk)
        if to is not RUNNING:
            self.leases.pop(chunk, None)
        if to in (SUCCEEDED, DEAD, CANCELLED):
            self.attempts.pop(chunk, None)
            self.trails.pop(chunk, None)
        if to in (SUCCEEDED, DEAD):
            self.check_budget()

    def check_budget(self) -> None:
        """Stop the job when it has more of something than its budget allows."""
        errors, dead = self.states.count(SUCCEEDED), self.states.count(DEAD)
        passed = self.limits.passed(rows_error=errors, chunks_dead=dead)
        if passed and self.job is JobState.RUNNING:
            self.stop(passed)

    def stop(self, by: str, message: str = "") -> None:
        """Let no further chunk be begun, and remember why."""
        self.job, self.stopped_by, self.stopped_message = JobState.FAILED, by, message

    def give_back(self, chunk: int, to: ChunkState) -> None:
        """End an attempt without an outcome: a cancelled job takes nothing back."""
        self.move(chunk, CANCELLED if self.job is JobState.CANCELLED else to)
