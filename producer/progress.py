"""How far a job is and how fast it goes: a pure function of the statuses seen so far."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from schemas.job_status import JobStatus
from schemas.states import ChunkState, JobState

# Rates are those of so many seconds: long enough to smooth over chunks, short enough to follow
# workers that come and go.
WINDOW_SECONDS = 30.0
# A rate measured over less time says nothing.
MIN_RATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job at one moment. Rates and ETA are None until enough was seen to tell.

    `stopped_by` and `stopped_message` are those of `JobStatus`.
    """

    job_id: str
    state: JobState
    stopped_by: str | None
    stopped_message: str
    ended: bool
    rows: int
    rows_done: int
    rows_error: int
    chunks: int
    chunks_done: int
    queued: int
    running: int
    retrying: int
    dead: int
    cancelled: int
    tokens: int
    rows_per_second: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    elapsed_seconds: float

    @property
    def at_rest(self) -> bool:
        """Whether the job was stopped and none of its chunks runs any more."""
        return self.state is JobState.FAILED and not self.running

    @property
    def fraction(self) -> float:
        """Share of the work that is done; chunks stand in for the rows of a job without rows."""
        if self.rows:
            return min(1.0, self.rows_done / self.rows)
        return self.chunks_done / self.chunks if self.chunks else 1.0

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    rows: int
    tokens: int


class Meter:
    """Turns one status after the other into progress with rates over the last seconds.

    Keeps the moments at which the count of rows changed. The base of a rate is the newest of them
    that lies a window back, so that chunks longer than the window count in full.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[_Sample] = deque()

    def read(self, status: JobStatus) -> Progress:
        """Return the progress that `status` shows."""
        now = _Sample(status.now, status.rows_done, status.tokens)
        if not self._samples or self._samples[-1].rows != now.rows:
            self._samples.append(now)
        self._drop_old(now)
        rows_rate, tokens_rate = self._rates(now)
        left = status.rows - status.rows_done
        count = status.chunks
        return Progress(
            job_id=status.job_id,
            state=status.state,
            stopped_by=status.stopped_by,
            stopped_message=status.stopped_message,
            ended=status.ended,
            rows=status.rows,
            rows_done=status.rows_done,
            rows_error=status.rows_error,
            chunks=status.chunk_count,
            chunks_done=count[ChunkState.SUCCEEDED] + count[ChunkState.DEAD],
            queued=count[ChunkState.QUEUED],
            running=count[ChunkState.RUNNING],
            retrying=count[ChunkState.RETRYING],
            dead=count[ChunkState.DEAD],
            cancelled=count[ChunkState.CANCELLED],
            tokens=status.tokens,
            rows_per_second=rows_rate,
            tokens_per_second=tokens_rate,
            eta_seconds=left / rows_rate if rows_rate else None,
            elapsed_seconds=max(0.0, (status.closed or status.now) - status.opened),
        )

    def _drop_old(self, now: _Sample) -> None:
        samples = self._samples
        while (
            len(samples) > 1
            and samples[1].at <= now.at - self._window_seconds
            and samples[1].rows < now.rows
        ):
            samples.popleft()

    def _rates(self, now: _Sample) -> tuple[float | None, float | None]:
        base = self._samples[0]
        seconds = now.at - base.at
        if seconds < MIN_RATE_SECONDS or now.rows <= base.rows:
            return None, None
        return (now.rows - base.rows) / seconds, (now.tokens - base.tokens) / seconds


class Idleness:
    """Notices that chunks wait on the queue and nobody takes one."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._seen: tuple[int, ...] = ()
        self._since = 0.0
        self._told = False

    def begins(self, status: JobStatus) -> bool:
        """Say whether the limit is passed with this status; once for each idle spell."""
        counts = tuple(status.chunks[state] for state in ChunkState)
        if counts != self._seen or status.chunks[ChunkState.RUNNING]:
            self._seen, self._since, self._told = counts, status.now, False
        waiting = status.state is JobState.RUNNING and status.chunks[ChunkState.QUEUED] > 0
        if self._told or not waiting or status.now - self._since < self._limit_seconds:
            return False
        self._told = True
        return True
