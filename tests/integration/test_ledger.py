"""One attempt at one chunk in the ledger: claimed, begun, held and ended, on a real server."""

import time

import pytest
import redis

from schemas.ledger import Begin, Ledger
from schemas.states import ChunkState, JobState
from support.ledger_moves import (
    CANCELLED,
    DEAD,
    LONG_MS,
    QUEUED,
    RETRYING,
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
from support.stored_jobs import JOB, account_of, failed_attempt

pytestmark = pytest.mark.integration

# Claiming what is to be queued


def test_a_claim_fills_the_window_and_no_more(ledger: Ledger) -> None:
    enter(ledger, chunks=10)

    assert claim(ledger, 4) == [0, 1, 2, 3]
    assert claim(ledger, 4) == []
    assert ledger.enqueued(JOB) == 4


def test_a_claim_tops_up_what_workers_have_begun(ledger: Ledger) -> None:
    enter(ledger, chunks=10)
    claim(ledger, 3)
    begin(ledger, 0)
    begin(ledger, 1, "t2", worker="w2")

    assert claim(ledger, 3) == [3, 4]


def test_a_claim_looks_past_a_long_stretch_of_finished_chunks(ledger: Ledger) -> None:
    states = [SUCCEEDED] * 10_000 + [QUEUED]
    enter(ledger, chunks=10_001, states=states)

    assert claim(ledger, 4) == [10_000]


def test_an_enqueued_chunk_is_claimed_again_only_when_old_and_missing(ledger: Ledger) -> None:
    enter(ledger)
    claim(ledger, 4)

    assert claim(ledger, 4, grace_ms=LONG_MS, missing=4) == []
    assert claim(ledger, 4, grace_ms=0, missing=0) == []
    assert claim(ledger, 4, grace_ms=0, missing=2) == [0, 1]


def test_a_retry_is_claimed_once_its_time_has_come(ledger: Ledger) -> None:
    enter(ledger, chunks=1)
    begin(ledger)
    retry(ledger, delay_ms=200)

    assert claim(ledger) == []
    time.sleep(0.25)
    assert claim(ledger) == [0]
    assert ledger.states(JOB) == [RETRYING]


def test_fresh_chunks_wait_while_ten_windows_of_them_back_off(ledger: Ledger) -> None:
    enter(ledger, chunks=30)
    for chunk in range(11):
        begin(ledger, chunk, f"t{chunk}", worker=f"w{chunk}")
        retry(ledger, chunk, f"t{chunk}")

    assert claim(ledger, 1) == []
    assert claim(ledger, 2) == [11, 12]


@pytest.mark.parametrize("stop", ["halt", "cancel", "close"])
def test_nothing_is_claimed_of_a_job_that_was_stopped(ledger: Ledger, stop: str) -> None:
    enter(ledger, chunks=2)
    begin(ledger)
    if stop == "halt":
        halt(ledger, 0, "t1")
    elif stop == "cancel":
        ledger.cancel(JOB)
    else:
        bury(ledger, 0)
        bury(ledger, 1)
        assert end(ledger, JobState.FAILED)

    assert claim(ledger, grace_ms=0, missing=9) == []


# Beginning an attempt


def test_an_attempt_is_counted_before_the_work(ledger: Ledger) -> None:
    enter(ledger, generation=3)

    assert begin(ledger) == Begin(outcome="begun", attempt=1, generation=3)
    assert ledger.state_of(JOB, 0) is RUNNING
    assert ledger.workers(JOB) == ["w1"]


def test_a_chunk_in_work_is_busy_for_another_worker(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert begin(ledger, token="t2", worker="w2").outcome == "busy"
    assert begin(ledger).attempt == 1


def test_a_workers_own_stale_lease_is_taken_over_at_once(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, token="of-a-dead-child")

    assert begin(ledger, token="t2") == Begin(outcome="begun", attempt=2, generation=0)
    assert ledger.heartbeat(JOB, 0, token="of-a-dead-child", lease_ms=1) == "lost"


def test_a_lease_that_ran_out_is_taken_over_by_anybody(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, lease_ms=0)

    assert begin(ledger, token="t2", worker="w2").attempt == 2
    logged = {(event.event, event.attempt, event.worker) for event in ledger.events(JOB)}
    assert logged == {("begun", 1, "w1"), ("lost", 1, "w1"), ("begun", 2, "w2")}
    assert ledger.sweep(JOB) == []


def test_a_worker_whose_name_has_spaces_is_known_again(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, worker="node 7, rack b")

    assert ledger.workers(JOB) == ["node 7, rack b"]
    assert begin(ledger, token="t2", worker="node 7, rack b").outcome == "begun"


def test_a_chunk_begun_too_often_is_poison(ledger: Ledger) -> None:
    enter(ledger)
    outcomes = [begin(ledger, token=f"t{n}", max_attempts=2).outcome for n in range(4)]

    assert outcomes == ["begun", "begun", "poison", "poison"]


def test_a_chunk_that_backs_off_is_not_begun_before_its_time(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)
    retry(ledger, delay_ms=200)

    assert begin(ledger, token="t2").outcome == "busy"
    time.sleep(0.25)
    assert begin(ledger, token="t3") == Begin(outcome="begun", attempt=2, generation=0)


@pytest.mark.parametrize("state", [SUCCEEDED, DEAD, CANCELLED])
def test_a_chunk_that_has_ended_is_not_begun(ledger: Ledger, state: ChunkState) -> None:
    enter(ledger, chunks=1, states=[state])

    assert begin(ledger).outcome == state.value
    assert ledger.states(JOB) == [state]


def test_a_chunk_of_a_stopped_job_is_not_begun(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)
    halt(ledger, 0, "t1")

    assert begin(ledger, 1, "t2").outcome == "halted"
    ledger.cancel(JOB)
    assert begin(ledger, 1, "t2").outcome == "cancelled"


# Holding the lease


def test_a_heartbeat_keeps_a_lease_from_running_out(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, lease_ms=1)

    assert ledger.heartbeat(JOB, 0, token="t1", lease_ms=LONG_MS) == "held"
    assert ledger.sweep(JOB) == []


def test_a_heartbeat_tells_that_the_lease_is_lost_or_the_job_cancelled(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert ledger.heartbeat(JOB, 0, token="t2", lease_ms=LONG_MS) == "lost"
    assert ledger.heartbeat(JOB, 1, token="t1", lease_ms=LONG_MS) == "lost"
    ledger.cancel(JOB)
    assert ledger.heartbeat(JOB, 0, token="t1", lease_ms=LONG_MS) == "cancelled"


def test_expired_leases_are_freed_and_their_attempts_stay_charged(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger, 0, lease_ms=0)
    begin(ledger, 1, "t2", worker="w2")

    assert ledger.sweep(JOB) == [0]

    assert ledger.states(JOB) == [QUEUED, RUNNING, QUEUED, QUEUED]
    assert claim(ledger, 1) == [0]
    assert begin(ledger, 0, "t3").attempt == 2


# Ending an attempt


def test_a_result_is_counted_once(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert ledger.finish(JOB, 0, account_of(0, nulls=2))
    assert not ledger.finish(JOB, 0, account_of(0, nulls=2))

    status = ledger.status(JOB)
    assert status.chunks[SUCCEEDED] == 1
    assert (status.rows_scored, status.rows_error, status.row_errors) == (8, 2, {"text_null": 2})
    assert (status.tokens, status.truncated_rows, status.scoring_seconds) == (70, 1, 0.5)
    assert ledger.workers(JOB) == []


def test_a_result_counts_whoever_holds_the_lease(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert ledger.finish(JOB, 0, account_of(0))
    assert not retry(ledger)
    assert not bury(ledger, token="t1")
    assert ledger.state_of(JOB, 0) is SUCCEEDED


def test_a_late_result_takes_a_dead_chunk_off_the_dead(ledger: Ledger) -> None:
    enter(ledger)
    bury(ledger, 0)
    bury(ledger, 1)

    assert ledger.finish(JOB, 0, account_of(0))

    status = ledger.status(JOB)
    assert (status.chunks[DEAD], status.chunks[SUCCEEDED]) == (1, 1)
    assert (status.rows_dead, status.dead_by_code) == (10, {"input_corrupt": 1})


def test_a_late_result_of_an_ended_job_has_its_summary_written_anew(ledger: Ledger) -> None:
    enter(ledger, chunks=1)
    bury(ledger)
    end(ledger, JobState.FAILED)

    ledger.finish(JOB, 0, account_of(0))

    assert ledger.active() == [JOB]


def test_a_failed_attempt_is_written_down_with_those_before_it(ledger: Ledger) -> None:
    enter(ledger)
    for number in (1, 2):
        begin(ledger, token=f"t{number}")
        assert ledger.retry(JOB, 0, token=f"t{number}", delay_ms=0, record=failed_attempt(number))

    assert [record.number for record in ledger.history(JOB, 0)] == [1, 2]
    ledger.finish(JOB, 0, account_of(0))
    assert ledger.history(JOB, 0) == ()


def test_nothing_is_moved_by_an_attempt_that_lost_its_lease(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger)
    begin(ledger, token="slow")
    begin(ledger, token="quick")
    before = contents(server)

    assert not retry(ledger, token="slow")
    assert not bury(ledger, token="slow")
    assert not ledger.hand_back(JOB, 0, token="slow")
    assert not halt(ledger, 0, "slow")

    assert contents(server) == before


def test_a_chunk_handed_back_is_not_charged(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)
    retry(ledger, delay_ms=0)
    begin(ledger, token="t2")

    assert ledger.hand_back(JOB, 0, token="t2")

    assert claim(ledger, 1) == [0]
    assert begin(ledger, token="t3") == Begin(outcome="begun", attempt=2, generation=0)


def test_a_first_attempt_handed_back_leaves_no_trace(ledger: Ledger, server: redis.Redis) -> None:
    enter(ledger)
    begin(ledger)
    ledger.hand_back(JOB, 0, token="t1")

    assert server.exists(f"bulkscore:attempts:{JOB}", f"bulkscore:owners:{JOB}") == 0


def test_a_buried_chunk_is_counted_with_rows_and_code(ledger: Ledger) -> None:
    enter(ledger)
    begin(ledger)

    assert bury(ledger, token="t1")

    status = ledger.status(JOB)
    assert (status.chunks[DEAD], status.rows_dead) == (1, 10)
    assert status.dead_by_code == {"input_corrupt": 1}


def test_a_dead_letter_found_in_storage_is_counted_without_a_lease(ledger: Ledger) -> None:
    enter(ledger)

    assert bury(ledger, 2)
    assert ledger.state_of(JOB, 2) is DEAD


def test_a_result_or_a_cancellation_that_came_first_stands(ledger: Ledger) -> None:
    enter(ledger, chunks=2, states=[SUCCEEDED, CANCELLED])

    assert not bury(ledger, 0)
    assert not bury(ledger, 1)
    assert ledger.states(JOB) == [SUCCEEDED, CANCELLED]
