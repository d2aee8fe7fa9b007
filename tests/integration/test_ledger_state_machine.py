"""Random moves on a real server, beside a model of the ledger in plain Python.

Time is left out: a lease or a delay is either over at once or never in a test's life.
"""

from collections.abc import Iterable

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from schemas.budget import Halt, Limits
from schemas.ledger import Ledger
from schemas.states import JobState
from support.ledger_model import PENDING, Lease, LedgerModel
from support.ledger_moves import (
    CANCELLED,
    DEAD,
    DENIED,
    LONG_MS,
    QUEUED,
    RETRYING,
    RUNNING,
    SUCCEEDED,
    begin,
    bury,
    claim,
    enter,
    halt,
    retry,
)
from support.stored_jobs import CHUNK_ROWS, JOB, account_of

pytestmark = pytest.mark.integration

CHUNKS = 4
MAX_ATTEMPTS = 2
CODE = "input_corrupt"
GONE = Halt(code="input_missing", message="s3://lake does not exist")
places = st.integers(min_value=0, max_value=CHUNKS - 1)
workers = st.sampled_from(["w1", "w2", "w3"])
limit = st.none() | st.integers(min_value=0, max_value=CHUNKS)
budgets = st.builds(Limits, rows_error=limit, chunks_dead=limit)


class LedgerMachine(RuleBasedStateMachine):
    """One job, up to three workers, and a reconciler."""

    ledger: Ledger
    server: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.model = LedgerModel([QUEUED] * CHUNKS)
        self.tokens = 0

    @initialize(limits=budgets)
    def enter(self, limits: Limits) -> None:
        self.ledger.forget(JOB)
        self.model.limits = limits
        assert enter(self.ledger, chunks=CHUNKS, limits=limits)

    def new_token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    def pick(self, data: st.DataObject, wanted: Iterable[int]) -> int:
        """Draw one of the chunks that a move is made for, now and then any other."""
        likely = sorted(wanted)
        stray = not likely or data.draw(st.integers(min_value=0, max_value=4)) == 0
        return data.draw(places if stray else st.sampled_from(likely))

    def pick_held(self, data: st.DataObject) -> tuple[int, str]:
        """Draw a chunk with the token of its holder, now and then one that holds nothing."""
        chunk = self.pick(data, self.model.leases)
        lease = self.model.leases.get(chunk)
        if lease is None or data.draw(st.integers(min_value=0, max_value=4)) == 0:
            return chunk, "nobody"
        return chunk, lease.token

    # The reconciler

    @rule(window=st.integers(min_value=1, max_value=4))
    def fill_the_window(self, window: int) -> None:
        enqueued = self.server.zrange(f"bulkscore:enqueued:{JOB}", 0, -1)

        claimed = claim(self.ledger, window)

        assert len(claimed) == len(set(claimed)) <= max(0, window - len(enqueued))
        assert not {str(chunk) for chunk in claimed}.intersection(enqueued)
        self.check_claimed(claimed)

    @rule(missing=st.integers(min_value=0, max_value=3))
    def find_messages_lost(self, missing: int) -> None:
        enqueued = self.ledger.enqueued(JOB)

        claimed = claim(self.ledger, 1, grace_ms=0, missing=missing)

        assert len(claimed) <= max(1, missing)
        if self.model.job is JobState.RUNNING:
            assert len(claimed) >= min(missing, enqueued)
        self.check_claimed(claimed)

    def check_claimed(self, claimed: list[int]) -> None:
        assert self.model.job is JobState.RUNNING or not claimed
        assert all(self.model.states[chunk] in PENDING for chunk in claimed)
        assert not self.model.backing_off.intersection(claimed)

    @rule()
    def free_expired_leases(self) -> None:
        expired = {chunk for chunk, lease in self.model.leases.items() if lease.expired}

        assert set(self.ledger.sweep(JOB)) == expired

        for chunk in expired:
            self.model.give_back(chunk, QUEUED)

    @rule(worker=workers)
    def free_what_a_dead_process_held(self, worker: str) -> None:
        held = {c for c, lease in self.model.leases.items() if lease.worker == worker}

        assert set(self.ledger.disown(JOB, worker=worker)) == held

        for chunk in held:
            self.model.give_back(chunk, QUEUED)

    @rule(
        to=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]),
        late=st.booleans(),
        unwritten=st.sampled_from([None, GONE]),
    )
    def close(self, to: JobState, late: bool, unwritten: Halt | None) -> None:
        model = self.model
        pending = model.job is JobState.RUNNING and bool(model.pending)
        may_end = not (late or pending or RUNNING in model.states)

        known = model.states.count(SUCCEEDED) - late
        closed = self.ledger.close(JOB, to, succeeded=known, unwritten=unwritten)
        assert closed == may_end

        if may_end:
            if to is not JobState.FAILED:
                model.stopped_by, model.stopped_message = None, ""
            elif unwritten is not None and model.stopped_by is None:
                model.stop(unwritten.code, unwritten.message)
            model.job, model.closed, model.active = to, True, False
        elif late:
            model.active = True

    # A worker

    @rule(data=st.data(), worker=workers, expired=st.booleans())
    def begin(self, data: st.DataObject, worker: str, expired: bool) -> None:
        chunk = self.pick(data, self.model.pending)
        token = self.new_token()
        expected = self.expected_outcome(chunk, worker)

        lease_ms = 0 if expired else LONG_MS
        begun = begin(
            self.ledger,
            chunk,
            token,
            worker=worker,
            lease_ms=lease_ms,
            max_attempts=MAX_ATTEMPTS,
        )

        assert (begun.outcome, begun.generation) == (expected, self.model.generation)
        if expected in ("begun", "poison"):
            assert begun.trail == self.model.trails.get(chunk, "")
            if self.model.states[chunk] is not RUNNING:
                self.model.move(chunk, RUNNING)
            self.model.leases[chunk] = Lease(token, worker, expired)
            self.model.attempts[chunk] += 1
            assert begun.attempt == self.model.attempts[chunk]

    def expected_outcome(self, chunk: int, worker: str) -> str:
        model = self.model
        if model.states[chunk] in (SUCCEEDED, DEAD, CANCELLED):
            return model.states[chunk].value
        if model.job is not JobState.RUNNING:
            return "cancelled" if model.job is JobState.CANCELLED else "halted"
        lease = model.leases.get(chunk)
        if chunk in model.backing_off:
            return "busy"
        if lease is not None and not lease.expired and lease.worker != worker:
            return "busy"
        return "begun" if model.attempts[chunk] < MAX_ATTEMPTS else "poison"

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def begin_again_because_the_reply_was_lost(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.model.leases)))
        lease = self.model.leases[chunk]

        outcome = begin(
            self.ledger, chunk, lease.token, worker=lease.worker, max_attempts=MAX_ATTEMPTS
        )

        if self.model.job is JobState.RUNNING:
            assert outcome.attempt == self.model.attempts[chunk]

    @rule(data=st.data())
    def note_where_it_is(self, data: st.DataObject) -> None:
        chunk, token = self.pick_held(data)
        trail = self.new_token()

        noted = self.ledger.note(JOB, chunk, token=token, trail=trail)

        assert noted == (token != "nobody")
        if noted:
            self.model.trails[chunk] = trail

    @rule(data=st.data(), expired=st.booleans())
    def renew(self, data: st.DataObject, expired: bool) -> None:
        chunk, token = self.pick_held(data)
        cancelled = self.model.job is JobState.CANCELLED

        state = self.ledger.heartbeat(JOB, chunk, token=token, lease_ms=0 if expired else LONG_MS)

        if token == "nobody":
            assert state == "lost"
        else:
            assert state == ("cancelled" if cancelled else "held")
            if not cancelled:
                self.model.leases[chunk].expired = expired

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        chunk = self.pick(data, self.model.leases)
        fresh = self.model.states[chunk] is not SUCCEEDED

        assert self.ledger.finish(JOB, chunk, account_of(chunk, nulls=1)) == fresh

        if fresh:
            self.model.move(chunk, SUCCEEDED)
            self.model.active = self.model.active or self.model.closed

    @rule(data=st.data(), over=st.booleans())
    def retry(self, data: st.DataObject, over: bool) -> None:
        chunk, token = self.pick_held(data)

        moved = retry(self.ledger, chunk, token, delay_ms=0 if over else LONG_MS)

        assert moved == (token != "nobody")
        if moved:
            self.model.give_back(chunk, RETRYING)
            if not over and self.model.states[chunk] is RETRYING:
                self.model.backing_off.add(chunk)

    @rule(data=st.data(), over=st.booleans())
    def hand_back(self, data: st.DataObject, over: bool) -> None:
        chunk, token = self.pick_held(data)

        moved = self.ledger.hand_back(JOB, chunk, token=token, delay_ms=0 if over else LONG_MS)

        assert moved == (token != "nobody")
        if moved:
            self.model.attempts[chunk] -= 1
            self.model.give_back(chunk, QUEUED)

    @rule(data=st.data(), found=st.booleans())
    def bury(self, data: st.DataObject, found: bool) -> None:
        chunk, token = self.pick_held(data)
        token = "" if found else token
        ended = self.model.states[chunk] in (SUCCEEDED, DEAD, CANCELLED)

        moved = bury(self.ledger, chunk, token)

        assert moved == (not ended and token != "nobody")
        if moved:
            self.model.move(chunk, DEAD)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def halt(self, data: st.DataObject) -> None:
        chunk, token = self.pick_held(data)
        running = self.model.job is JobState.RUNNING
        repeated = token != "nobody" and token == self.model.halted_by

        halted = halt(self.ledger, chunk, token)

        assert halted == (repeated or (running and token != "nobody"))
        if halted and not repeated:
            self.model.halted_by = token
            self.model.stop(DENIED.code, DENIED.message)

    # An operator

    @precondition(lambda self: SUCCEEDED in self.model.states)
    @rule()
    def cancel(self) -> None:
        waiting = self.model.pending

        cancelled = self.ledger.cancel(JOB)

        assert cancelled == (0 if self.model.closed else len(waiting))
        if not self.model.closed:
            self.model.job = JobState.CANCELLED
            for chunk in waiting:
                self.model.states[chunk] = CANCELLED
            self.model.backing_off.clear()

    @precondition(lambda self: self.model.job is not JobState.RUNNING or DEAD in self.model.states)
    @rule(chunks=st.sets(places), generation=st.integers(min_value=0, max_value=4), limits=budgets)
    def send_again(self, chunks: set[int], generation: int, limits: Limits) -> None:
        model = self.model
        again = [chunk for chunk in chunks if model.states[chunk] in (DEAD, CANCELLED)]

        sent = self.ledger.reopen(JOB, sorted(chunks), generation=generation, limits=limits)

        assert sent == len(again)

        for chunk in again:
            model.move(chunk, QUEUED)
            model.attempts.pop(chunk, None)
        model.generation = max(model.generation, generation)
        model.job, model.closed, model.active = JobState.RUNNING, False, True
        model.halted_by, model.stopped_by, model.stopped_message = "", None, ""
        model.limits = Limits(
            rows_error=model.limits.rows_error if limits.rows_error is None else limits.rows_error,
            chunks_dead=(
                model.limits.chunks_dead if limits.chunks_dead is None else limits.chunks_dead
            ),
        )
        model.check_budget()

    # What always holds

    @invariant()
    def every_chunk_is_in_the_state_of_the_model(self) -> None:
        assert self.ledger.states(JOB) == self.model.states

    @invariant()
    def the_counters_are_the_histogram_of_the_states(self) -> None:
        status = self.ledger.status(JOB)
        histogram = self.model.histogram
        assert status.chunks == histogram
        assert (status.state, status.generation) == (self.model.job, self.model.generation)
        assert status.stopped_by == self.model.stopped_by
        assert status.stopped_message == self.model.stopped_message
        assert status.rows_scored == histogram[SUCCEEDED] * (CHUNK_ROWS - 1)
        assert status.row_errors == (
            {"text_null": histogram[SUCCEEDED]} if histogram[SUCCEEDED] else {}
        )
        assert status.rows_dead == histogram[DEAD] * CHUNK_ROWS
        assert status.dead_by_code == ({CODE: histogram[DEAD]} if histogram[DEAD] else {})

    @invariant()
    def what_is_pending_will_be_queued(self) -> None:
        with self.server.pipeline() as pipe:
            pipe.hget(f"bulkscore:job:{JOB}", "cursor")
            pipe.zrange(f"bulkscore:enqueued:{JOB}", 0, -1)
            pipe.zrange(f"bulkscore:due:{JOB}", 0, -1)
            cursor, *named = pipe.execute()
        enqueued, due = ({int(chunk) for chunk in chunks} for chunks in named)
        pending = self.model.pending
        assert pending <= enqueued | due | set(range(int(cursor), CHUNKS))
        assert enqueued | due <= pending
        assert not enqueued & due

    @invariant()
    def running_chunks_alone_have_a_lease_and_its_holder(self) -> None:
        running = {c for c, state in enumerate(self.model.states) if state is RUNNING}
        held = self.server.zrange(f"bulkscore:leases:{JOB}", 0, -1)
        owners = self.server.hgetall(f"bulkscore:owners:{JOB}")
        leases = self.model.leases
        assert running == set(leases)
        assert set(held) == {str(chunk) for chunk in leases}
        assert owners == {str(c): f"{lease.token} {lease.worker}" for c, lease in leases.items()}

    @invariant()
    def a_job_that_has_not_ended_has_a_reconciler(self) -> None:
        assert self.ledger.active() == ([JOB] if self.model.active else [])
        assert (self.ledger.status(JOB).closed is not None) == self.model.closed


def test_the_ledger_and_its_model_agree_after_any_moves(
    ledger: Ledger, server: redis.Redis
) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.ledger, Machine.server = ledger, server
    bounds = settings(
        max_examples=80,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=bounds)
