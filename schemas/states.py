"""States of chunks and jobs, and the moves between them.

    queued ──begin──► running ──finish──► succeeded
      ▲ ▲               │ │ └───bury────► dead ──reopen──► queued
      │ └──hand back────┘ └──retry──► retrying ──begin──► running
      └─── cancel ends every state that is not terminal

`schemas/ledger.lua` carries the same table and refuses every other move; a test compares them.
"""

from enum import StrEnum


class ChunkState(StrEnum):
    """Where one chunk is; the ledger keeps the first letter of each."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def letter(self) -> str:
        """The single character that stands for the state in the ledger."""
        return "t" if self is ChunkState.RETRYING else self.value[0]


class JobState(StrEnum):
    """Where one job is."""

    PLANNING = "planning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_CHUNK_STATES = frozenset({ChunkState.SUCCEEDED, ChunkState.DEAD, ChunkState.CANCELLED})
TERMINAL_JOB_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

# A result object is the truth: `succeeded` is reached from every state, because a late attempt
# may have created the object after the chunk was buried or cancelled.
LEGAL_MOVES: dict[ChunkState, frozenset[ChunkState]] = {
    ChunkState.QUEUED: frozenset(
        {ChunkState.RUNNING, ChunkState.SUCCEEDED, ChunkState.CANCELLED, ChunkState.DEAD}
    ),
    ChunkState.RUNNING: frozenset(
        {
            ChunkState.QUEUED,
            ChunkState.RETRYING,
            ChunkState.SUCCEEDED,
            ChunkState.DEAD,
            ChunkState.CANCELLED,
        }
    ),
    ChunkState.RETRYING: frozenset(
        {ChunkState.RUNNING, ChunkState.SUCCEEDED, ChunkState.DEAD, ChunkState.CANCELLED}
    ),
    ChunkState.SUCCEEDED: frozenset(),
    ChunkState.DEAD: frozenset({ChunkState.QUEUED, ChunkState.SUCCEEDED}),
    ChunkState.CANCELLED: frozenset({ChunkState.QUEUED, ChunkState.SUCCEEDED}),
}
