"""The heartbeat renews a lease while the work advances, and stops the work when it must end."""

import threading
from collections.abc import Callable

import pytest

from schemas.errors import BrokerUnavailable, ChunkTimedOut, LeaseLost
from schemas.ledger import LeaseState
from worker.heartbeat import HandBack, Heartbeat


def heartbeat(
    renew: Callable[[], LeaseState],
    *,
    stall_seconds: float = 60,
    time_limit_seconds: float = 60,
    draining: Callable[[], bool] = lambda: False,
) -> Heartbeat:
    return Heartbeat(
        renew,
        every_seconds=0.005,
        stall_seconds=stall_seconds,
        time_limit_seconds=time_limit_seconds,
        draining=draining,
    )


class Renewals:
    """Answers each renewal from a list, the last one again and again, and counts them."""

    def __init__(self, *answers: LeaseState | Exception) -> None:
        self.answers = answers
        self.count = 0
        self.changed = threading.Condition()

    def __call__(self) -> LeaseState:
        answer = self.answers[min(self.count, len(self.answers) - 1)]
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, timeout=10)


def test_the_lease_is_renewed_again_and_again_while_the_work_goes_on() -> None:
    renewals = Renewals("held")

    with heartbeat(renewals) as beat:
        for wanted in (1, 2, 3):
            renewals.wait_for(wanted)
            beat.advance()


def test_work_stops_at_the_next_batch_border_once_the_lease_is_lost() -> None:
    renewals = Renewals("lost")

    with heartbeat(renewals) as beat:
        beat._thread.join(timeout=10)

        with pytest.raises(LeaseLost):
            beat.advance()


def test_work_on_a_cancelled_job_is_handed_back() -> None:
    renewals = Renewals("held", "cancelled")

    with heartbeat(renewals) as beat:
        beat._thread.join(timeout=10)

        with pytest.raises(HandBack):
            beat.advance()


def test_work_is_handed_back_when_the_worker_drains() -> None:
    with heartbeat(Renewals("held"), draining=lambda: True) as beat, pytest.raises(HandBack):
        beat.advance()


def test_work_past_its_time_limit_ends() -> None:
    with (
        heartbeat(Renewals("held"), time_limit_seconds=-1) as beat,
        pytest.raises(ChunkTimedOut, match="smaller chunks"),
    ):
        beat.advance()


def test_a_broker_that_does_not_answer_does_not_stop_the_work() -> None:
    renewals = Renewals(BrokerUnavailable("gone"), "held")

    with heartbeat(renewals) as beat:
        renewals.wait_for(3)

        beat.advance()


def test_work_that_does_not_advance_is_not_kept_alive() -> None:
    renewals = Renewals("held")

    with heartbeat(renewals, stall_seconds=-1) as beat:
        beat._thread.join(timeout=10)

    assert renewals.count == 0
