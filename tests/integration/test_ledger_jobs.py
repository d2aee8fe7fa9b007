"""A whole job in the ledger: entered, stopped, ended and sent again, on a real server."""

import pytest
import redis

from schemas.budget import Halt, Limits
from schemas.dead_letter import Buried
from schemas.errors import JobUnknown, ManifestMissing
from schemas.ledger import Begin, Ledger
from schemas.states import JobState
from support.ledger_moves import (
    CANCELLED,
    DEAD,
    DENIED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    begin,
    bury,
    claim,
    contents,
    end,
    enter,
    halt,
    retry,
)
from support.stored_jobs import JOB, account_of

pytestmark = pytest.mark.integration

# Entering a job


def test_an_entered_job_has_all_its_chunks_queued(ledger: Ledger) -> None:
    assert enter(ledger)

    status = ledger.status(JOB)
    assert ledger.states(JOB) == [QUEUED] * 4
    assert (status.state, status.chunks[QUEUED], status.pending) == (JobState.RUNNING, 4, 4)
    assert (status.output, status.rows, status.generation) == ("s3://lake/scored", 40, 0)
    assert ledger.jobs() == ledger.active() == [JOB]


def test_a_job_that_is_there_is_not_entered_again(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert not enter(ledger, chunks=9, generation=3)

    assert ledger.states(JOB) == [RUNNING, QUEUED, QUEUED, QUEUED]
    assert ledger.status(JOB).generation == 0


def test_a_job_is_entered_with_what_storage_knows_of_it(ledger: Ledger) -> None:
    states = [SUCCEEDED, DEAD, QUEUED, CANCELLED]

    enter(
        ledger,
        states=states,
        generation=2,
        counters={"rows_scored": 7, "scoring_seconds": 0.5, "row:text_null": 3},
        buried={1: Buried(rows=10, code="input_corrupt")},
    )

    status = ledger.status(JOB)
    assert ledger.states(JOB) == states
    assert [status.chunks[s] for s in (SUCCEEDED, DEAD, QUEUED, CANCELLED)] == [1, 1, 1, 1]
    assert (status.rows_scored, status.rows_dead, status.scoring_seconds) == (7, 10, 0.5)
    assert (status.row_errors, status.dead_by_code) == ({"text_null": 3}, {"input_corrupt": 1})


def test_a_job_with_more_states_than_chunks_is_a_bug(ledger: Ledger) -> None:
    with pytest.raises(AssertionError, match="bug: 2 states for the 4 chunks"):
        enter(ledger, states=[QUEUED, QUEUED])


def test_a_job_without_chunks_can_end_at_once(ledger: Ledger) -> None:
    enter(ledger, chunks=0)

    assert claim(ledger) == []
    assert end(ledger)


def test_a_forgotten_job_leaves_no_key_behind(ledger: Ledger, server: redis.Redis) -> None:
    enter(ledger)
    claim(ledger, 2)
    begin(ledger, 0)
    retry(ledger, 0)
    begin(ledger, 1, "t2")
    bury(ledger, 2)
    ledger.finish(JOB, 3, account_of(3, nulls=1))

    ledger.forget(JOB)

    assert contents(server) == {}
    with pytest.raises(JobUnknown, match="resume"):
        ledger.status(JOB)


# Stopping a job


def test_one_attempt_halts_the_job_for_all(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, 0, "t1")
    begin(ledger, 1, "t2", worker="w2")

    assert halt(ledger, 0, "t1")
    assert not halt(ledger, 1, "t2")
    assert halt(ledger, 0, "t1")

    status = ledger.status(JOB)
    assert (status.state, status.stopped_by) == (JobState.FAILED, "access_denied")
    assert status.halt == DENIED
    assert ledger.hand_back(JOB, 1, token="t2")
    assert bury(ledger, 0, "t1")
    assert end(ledger, JobState.FAILED)


def test_a_halted_job_goes_on_when_it_is_opened_again(ledger: Ledger) -> None:
    enter(ledger)
    claim(ledger)
    begin(ledger)
    halt(ledger, 0, "t1")
    bury(ledger, 0, "t1")
    end(ledger, JobState.FAILED)

    assert ledger.reopen(JOB, [0], generation=1) == 1

    status = ledger.status(JOB)
    assert (status.state, status.generation, status.closed) == (JobState.RUNNING, 1, None)
    assert (status.stopped_by, status.stopped_message) == (None, "")
    assert sorted(claim(ledger)) == [0, 1, 2, 3]
    assert ledger.active() == [JOB]


def test_what_halted_a_job_first_is_what_is_said(ledger: Ledger) -> None:
    enter(ledger, chunks=2, limits=Limits(chunks_dead=0))
    begin(ledger, 0, "t1")
    begin(ledger, 1, "t2", worker="w2")
    gone = Halt(code="input_missing", message="s3://lake does not exist")

    halt(ledger, 0, "t1")
    halt(ledger, 1, "t2", why=gone)
    bury(ledger, 0)
    bury(ledger, 1)
    ledger.close(JOB, JobState.FAILED, succeeded=0, unwritten=gone)

    assert ledger.status(JOB).halt == DENIED


def test_a_job_whose_summary_cannot_be_written_says_why(ledger: Ledger) -> None:
    enter(ledger, chunks=1)
    ledger.finish(JOB, 0, account_of(0))

    assert ledger.close(JOB, JobState.FAILED, succeeded=1, unwritten=DENIED)

    assert (ledger.status(JOB).ended, ledger.status(JOB).halt) == (True, DENIED)


def test_a_halted_job_that_was_complete_all_the_same_is_not_said_to_be_stopped(
    ledger: Ledger,
) -> None:
    enter(ledger, chunks=1)
    begin(ledger)
    halt(ledger)
    ledger.finish(JOB, 0, account_of(0))

    assert end(ledger, JobState.SUCCEEDED)

    assert ledger.status(JOB).stopped_by is None


def test_what_is_kept_of_an_error_is_one_short_line() -> None:
    kept = Halt.of(ManifestMissing("first line\nsecond line " + "x" * 2_000))

    assert kept.code == "manifest_missing"
    assert kept.message.startswith("first line second line x")
    assert len(kept.message) == 500


def test_one_dead_chunk_too_many_stops_the_job(ledger: Ledger) -> None:
    enter(ledger, limits=Limits(chunks_dead=1))

    bury(ledger, 0)
    assert ledger.status(JOB).state is JobState.RUNNING
    bury(ledger, 1)

    status = ledger.status(JOB)
    assert (status.state, status.stopped_by) == (JobState.FAILED, "chunks_dead")
    assert begin(ledger, 2).outcome == "halted"
    assert claim(ledger) == []


def test_a_stopped_job_goes_on_within_the_budget_it_is_given(ledger: Ledger) -> None:
    enter(ledger, limits=Limits(rows_error=1))
    ledger.finish(JOB, 0, account_of(0, nulls=2))
    assert ledger.status(JOB).stopped_by == "rows_error"

    ledger.reopen(JOB, [], generation=1, limits=Limits(rows_error=3))
    ledger.finish(JOB, 1, account_of(1, nulls=1))
    assert (ledger.status(JOB).state, ledger.status(JOB).stopped_by) == (JobState.RUNNING, None)
    ledger.finish(JOB, 2, account_of(2, nulls=1))

    assert ledger.status(JOB).stopped_by == "rows_error"


def test_a_stopped_job_stays_stopped_while_it_is_above_its_budget(ledger: Ledger) -> None:
    enter(ledger, limits=Limits(chunks_dead=1))
    for chunk in range(3):
        bury(ledger, chunk)

    ledger.reopen(JOB, [0], generation=1)
    assert (ledger.status(JOB).stopped_by, claim(ledger)) == ("chunks_dead", [])
    ledger.reopen(JOB, [1], generation=2)

    assert ledger.status(JOB).stopped_by is None
    assert sorted(claim(ledger)) == [0, 1, 3]


def test_a_job_restored_above_its_budget_is_stopped_at_once(ledger: Ledger) -> None:
    enter(ledger, counters={"rows_error": 3}, limits=Limits(rows_error=2))

    status = ledger.status(JOB)
    assert (status.state, status.stopped_by) == (JobState.FAILED, "rows_error")
    assert status.limits == Limits(rows_error=2)


def test_where_an_attempt_was_is_known_to_the_next_until_the_chunk_succeeds(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger)
    begin(ledger, lease_ms=0)
    assert ledger.note(JOB, 0, token="t1", trail="row 7")
    assert not ledger.note(JOB, 0, token="other", trail="row 8")

    assert begin(ledger, 0, "t2", worker="w2").trail == "row 7"
    ledger.finish(JOB, 0, account_of(0))

    assert server.exists(f"bulkscore:trails:{JOB}") == 0


def test_a_cancelled_job_loses_what_waits_and_keeps_what_runs(ledger: Ledger) -> None:
    enter(ledger, chunks=5)
    claim(ledger)
    begin(ledger, 0)
    begin(ledger, 1, "t2", worker="w2")
    retry(ledger, 1, "t2")
    bury(ledger, 2)

    assert ledger.cancel(JOB) == 3

    assert ledger.states(JOB) == [RUNNING, CANCELLED, DEAD, CANCELLED, CANCELLED]
    assert not end(ledger, JobState.CANCELLED)
    assert ledger.finish(JOB, 0, account_of(0))
    assert end(ledger, JobState.CANCELLED)


@pytest.mark.parametrize("way", ["retry", "hand_back", "sweep"])
def test_a_chunk_given_back_to_a_cancelled_job_is_cancelled(
    ledger: Ledger, server: redis.Redis, way: str
) -> None:
    enter(ledger, chunks=1)
    begin(ledger, lease_ms=0)
    ledger.cancel(JOB)

    if way == "retry":
        assert retry(ledger)
    elif way == "hand_back":
        assert ledger.hand_back(JOB, 0, token="t1")
    else:
        assert ledger.sweep(JOB) == [0]

    assert ledger.states(JOB) == [CANCELLED]
    kinds = ("attempts", "owners", "leases", "history", "due", "enqueued")
    assert server.exists(*(f"bulkscore:{kind}:{JOB}" for kind in kinds)) == 0


def test_a_job_that_has_ended_is_not_cancelled(ledger: Ledger) -> None:
    enter(ledger, chunks=1)
    ledger.finish(JOB, 0, account_of(0))
    end(ledger)

    assert ledger.cancel(JOB) == 0
    assert ledger.status(JOB).state is JobState.SUCCEEDED


# Ending a job, and sending it again


def test_a_job_with_pending_chunks_is_not_closed(ledger: Ledger) -> None:
    enter(ledger, chunks=2)
    assert not end(ledger)

    begin(ledger)
    ledger.finish(JOB, 1, account_of(1))
    assert not end(ledger)

    retry(ledger)
    assert not end(ledger)

    ledger.finish(JOB, 0, account_of(0))
    assert end(ledger)


def test_a_closed_job_needs_no_reconciler_and_is_kept_for_a_month(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger, chunks=1)
    ledger.finish(JOB, 0, account_of(0))
    end(ledger)

    status = ledger.status(JOB)
    assert status.ended
    assert status.closed is not None
    assert ledger.active() == []
    assert 29 * 86_400 < server.ttl(f"bulkscore:job:{JOB}") <= 30 * 86_400


def test_a_job_is_not_closed_on_a_summary_that_misses_a_late_result(ledger: Ledger) -> None:
    enter(ledger, chunks=2)
    bury(ledger, 0)
    ledger.finish(JOB, 1, account_of(1))
    surveyed = ledger.status(JOB).chunks[SUCCEEDED]
    ledger.finish(JOB, 0, account_of(0))

    assert not ledger.close(JOB, JobState.FAILED, succeeded=surveyed)
    assert ledger.active() == [JOB]


def test_a_stale_summary_written_over_a_good_one_is_looked_at_again(ledger: Ledger) -> None:
    enter(ledger, chunks=1)
    bury(ledger, 0)
    ledger.finish(JOB, 0, account_of(0))
    ledger.close(JOB, JobState.SUCCEEDED, succeeded=1)

    assert not ledger.close(JOB, JobState.FAILED, succeeded=0)
    assert ledger.active() == [JOB]
    assert ledger.status(JOB).state is JobState.SUCCEEDED


def test_dead_and_cancelled_chunks_are_queued_again_and_others_are_not(ledger: Ledger) -> None:
    enter(ledger, states=[DEAD, SUCCEEDED, CANCELLED, DEAD], buried={0: Buried(rows=10, code="x")})
    claim(ledger)

    assert ledger.reopen(JOB, [0, 1, 2], generation=1) == 2

    status = ledger.status(JOB)
    assert ledger.states(JOB) == [QUEUED, SUCCEEDED, QUEUED, DEAD]
    assert (status.rows_dead, status.dead_by_code) == (0, {})
    assert claim(ledger) == [0, 2]


def test_what_is_on_the_queue_is_not_queued_twice_when_an_earlier_chunk_is_sent_again(
    ledger: Ledger,
) -> None:
    enter(ledger, states=[DEAD, QUEUED, QUEUED, QUEUED])
    claim(ledger, 2)
    begin(ledger, 2)
    ledger.hand_back(JOB, 2, token="t1")

    ledger.reopen(JOB, [0], generation=1)

    assert claim(ledger) == [2, 0, 3]


def test_more_chunks_than_one_script_should_move_are_queued_again(ledger: Ledger) -> None:
    count = 25_001
    enter(ledger, chunks=count, states=[CANCELLED] * count)

    assert ledger.reopen(JOB, range(count), generation=1) == count
    assert ledger.status(JOB).chunks[QUEUED] == count


def test_a_dead_chunk_of_unknown_rows_is_queued_again(ledger: Ledger) -> None:
    enter(ledger)
    bury(ledger, 0, rows=0)

    assert ledger.reopen(JOB, [0], generation=1) == 1
    assert (ledger.status(JOB).rows_dead, ledger.status(JOB).dead_by_code) == (0, {})


def test_a_chunk_sent_again_starts_with_no_attempts(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)
    retry(ledger, delay_ms=0)
    begin(ledger, token="t2")
    bury(ledger, 0, "t2")

    ledger.reopen(JOB, [0], generation=1)

    assert ledger.history(JOB, 0) == ()
    assert begin(ledger, token="t3") == Begin(outcome="begun", attempt=1, generation=1)


def test_a_generation_is_never_lowered(ledger: Ledger) -> None:
    enter(ledger, generation=3)

    ledger.reopen(JOB, [], generation=2)

    assert ledger.status(JOB).generation == 3
