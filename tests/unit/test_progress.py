"""Rates, ETA and idleness from a series of statuses."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from producer.progress import Idleness, Meter, Progress
from schemas.budget import NO_LIMITS
from schemas.job_status import JobStatus
from schemas.states import ChunkState, JobState


def _status(now: float, rows_scored: int = 0, rows: int = 1_000, **changes: Any) -> JobStatus:
    chunks = dict.fromkeys(ChunkState, 0) | changes.pop("chunks", {ChunkState.QUEUED: 10})
    values: dict[str, Any] = {
        "job_id": "job",
        "output": "/out",
        "priority": "normal",
        "state": JobState.RUNNING,
        "generation": 0,
        "chunks": chunks,
        "chunk_count": 10,
        "rows": rows,
        "rows_scored": rows_scored,
        "rows_error": 0,
        "rows_dead": 0,
        "tokens": rows_scored * 20,
        "truncated_rows": 0,
        "scoring_seconds": 0.0,
        "row_errors": {},
        "dead_by_code": {},
        "limits": NO_LIMITS,
        "stopped_by": None,
        "stopped_message": "",
        "opened": 0.0,
        "closed": None,
        "now": now,
    }
    return JobStatus(**{**values, **changes})


def _read(*statuses: JobStatus) -> Progress:
    meter = Meter(window_seconds=30)
    return [meter.read(status) for status in statuses][-1]


def test_no_rate_is_told_before_anything_was_done() -> None:
    progress = _read(_status(100), _status(110))

    assert progress.rows_per_second is None
    assert progress.eta_seconds is None


def test_rates_and_eta_follow_from_what_was_done_while_watching() -> None:
    progress = _read(_status(100, 200), _status(110, 400))

    assert progress.rows_per_second == 20
    assert progress.tokens_per_second == 400
    assert progress.eta_seconds == 30


def test_what_was_done_before_the_watch_is_no_speed() -> None:
    progress = _read(_status(5_000, 900), _status(5_001, 900))

    assert progress.rows_per_second is None


def test_a_rate_forgets_what_lies_before_the_window() -> None:
    slow_then_fast = [_status(t, t) for t in range(0, 100, 10)]
    fast = [_status(100 + t, 100 + 10 * t) for t in range(0, 50, 10)]

    progress = _read(*slow_then_fast, *fast)

    assert progress.rows_per_second == 10


def test_chunks_longer_than_the_window_count_in_full() -> None:
    statuses = [_status(t, 100 * (t // 60)) for t in range(0, 190, 10)]

    progress = _read(*statuses)

    assert progress.rows_per_second is not None
    assert 1 < progress.rows_per_second < 2.5


def test_a_rate_is_told_until_the_next_chunk_ends_however_long_it_takes() -> None:
    statuses = [_status(0, 0), _status(60, 100), _status(120, 200), _status(170, 200)]

    assert _read(*statuses).rows_per_second == 100 / 110


def test_a_job_without_rows_is_measured_by_its_chunks() -> None:
    assert _read(_status(0, rows=0)).fraction == 0
    assert _read(_status(0, rows=0, chunk_count=0)).fraction == 1


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=40))
def test_no_series_of_statuses_gives_a_negative_rate(steps: Sequence[tuple[float, int]]) -> None:
    meter, now, rows = Meter(), 0.0, 0

    for seconds, more in steps:
        now, rows = now + seconds, min(1_000, rows + more)
        progress = meter.read(_status(now, rows))

        assert progress.rows_per_second is None or progress.rows_per_second > 0
        assert progress.eta_seconds is None or progress.eta_seconds >= 0
        assert 0 <= progress.fraction <= 1


def test_idleness_is_told_once_when_nobody_takes_a_chunk() -> None:
    idleness = Idleness(limit_seconds=30)

    told = [idleness.begins(_status(t)) for t in range(0, 100, 10)]

    assert told == [False, False, False, True, *[False] * 6]


def test_a_chunk_that_runs_is_no_idleness() -> None:
    idleness = Idleness(limit_seconds=30)
    chunks = {ChunkState.QUEUED: 9, ChunkState.RUNNING: 1}

    assert not any(idleness.begins(_status(t, chunks=chunks)) for t in range(0, 100, 10))


def test_chunks_that_back_off_are_no_idleness() -> None:
    idleness = Idleness(limit_seconds=30)
    chunks = {ChunkState.RETRYING: 10}

    assert not any(idleness.begins(_status(t, chunks=chunks)) for t in range(0, 100, 10))


def test_a_new_idle_spell_is_told_again() -> None:
    idleness = Idleness(limit_seconds=30)
    fewer = {ChunkState.QUEUED: 9, ChunkState.SUCCEEDED: 1}

    told = [idleness.begins(_status(t)) for t in (0, 30)]
    told += [idleness.begins(_status(t, chunks=fewer)) for t in (40, 70)]

    assert told == [False, True, False, True]
