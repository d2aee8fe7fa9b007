"""What holds for every move of the ledger, and what it makes of a server that will not.

A client repeats a command whose reply it did not get, so a move that is made twice must leave
what it left when it was made once.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from schemas.dead_letter import Buried
from schemas.errors import BrokerUnavailable, JobUnknown
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from schemas.states import JobState
from support.daemon import free_port
from support.ledger_moves import (
    DEAD,
    LONG_MS,
    QUEUED,
    begin,
    bury,
    claim,
    contents,
    enter,
    halt,
    retry,
)
from support.servers import ValkeyServer
from support.stored_jobs import JOB, account_of, failed_attempt

pytestmark = pytest.mark.integration

# All moves alike

MOVES: dict[str, Callable[[Ledger], Any]] = {
    "open": enter,
    "begin": begin,
    "note": lambda ledger: ledger.note(JOB, 0, token="t1", trail="{}"),
    "heartbeat": lambda ledger: ledger.heartbeat(JOB, 0, token="t1", lease_ms=LONG_MS),
    "finish": lambda ledger: ledger.finish(JOB, 0, account_of(0, nulls=1)),
    "retry": lambda ledger: retry(ledger, delay_ms=0),
    "bury": lambda ledger: bury(ledger, token="t1"),
    "halt": lambda ledger: halt(ledger, 0, "t1"),
    "hand_back": lambda ledger: ledger.hand_back(JOB, 0, token="t1"),
    "disown": lambda ledger: ledger.disown(JOB, worker="w1"),
    "sweep": lambda ledger: ledger.sweep(JOB),
    "reopen": lambda ledger: ledger.reopen(JOB, [2, 3], generation=1),
    "cancel": lambda ledger: ledger.cancel(JOB),
    "close": lambda ledger: ledger.close(JOB, JobState.FAILED, succeeded=0),
    "claim": lambda ledger: claim(ledger, 2),
}


@pytest.mark.parametrize("begun", [False, True], ids=["before an attempt", "in an attempt"])
@pytest.mark.parametrize("move", MOVES)
def test_a_move_made_twice_leaves_what_it_left_once(
    ledger: Ledger, server: redis.Redis, move: str, begun: bool
) -> None:
    enter(ledger, states=[QUEUED, QUEUED, DEAD, DEAD], buried={2: Buried(rows=10, code="x")})
    if begun:
        begin(ledger, lease_ms=0 if move == "sweep" else LONG_MS)

    MOVES[move](ledger)
    once = contents(server)
    MOVES[move](ledger)

    assert contents(server) == once


@pytest.mark.parametrize("move", [name for name in MOVES if name != "open"])
def test_a_move_of_a_job_that_redis_has_lost_names_the_way_back(
    ledger: Ledger, server: redis.Redis, move: str
) -> None:
    enter(ledger)
    server.flushall()

    with pytest.raises(JobUnknown, match="bulkscore resume"):
        MOVES[move](ledger)
    assert contents(server) == {}


@pytest.mark.parametrize(("letter", "to"), [("q", "retrying"), ("s", "retrying"), ("d", "dead")])
def test_an_illegal_move_is_a_bug_and_changes_nothing(
    ledger: Ledger, server: redis.Redis, letter: str, to: str
) -> None:
    enter(ledger, chunks=1)
    begin(ledger)
    server.set(f"bulkscore:states:{JOB}", letter)  # no move leads here with the lease still held
    before = contents(server)

    if to == "retrying":
        with pytest.raises(AssertionError, match=r"bug: retry .* ILLEGAL \w+ -> retrying"):
            retry(ledger)
    else:
        assert not bury(ledger, token="t1")

    assert contents(server) == before


@pytest.mark.parametrize("move", ["begin", "finish", "bury"])
def test_a_chunk_that_the_job_has_not_is_a_bug(
    ledger: Ledger, server: redis.Redis, move: str
) -> None:
    enter(ledger, chunks=2)
    before = contents(server)
    moves: dict[str, Callable[[], Any]] = {
        "begin": lambda: begin(ledger, 2),
        "finish": lambda: ledger.finish(JOB, 2, account_of(2)),
        "bury": lambda: bury(ledger, 2),
    }

    with pytest.raises(AssertionError, match=r"bug: .* NOCHUNK 2"):
        moves[move]()
    assert contents(server) == before
    with pytest.raises(JobUnknown, match="no chunk 2"):
        ledger.state_of(JOB, 2)


def test_states_that_end_before_the_chunks_do_are_a_bug(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger, chunks=3)
    server.set(f"bulkscore:states:{JOB}", "s")

    with pytest.raises(AssertionError, match=r"bug: claim .* SHORT"):
        claim(ledger)


def test_an_unknown_move_is_a_bug(ledger: Ledger) -> None:
    enter(ledger)

    with pytest.raises(AssertionError, match=r"bug: .* NOMOVE"):
        ledger._move("dance", JOB)


def test_the_script_is_loaded_again_by_a_server_that_lost_it(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger)
    server.script_flush()

    assert begin(ledger).outcome == "begun"


# Roles, and a server that will not


def test_a_role_is_played_by_one_at_a_time(ledger: Ledger) -> None:
    assert ledger.elect("reconciler", "a", lease_ms=100)
    assert ledger.elect("reconciler", "a", lease_ms=100)
    assert not ledger.elect("reconciler", "b", lease_ms=100)
    assert ledger.elect("janitor", "b", lease_ms=100)
    time.sleep(0.15)
    assert ledger.elect("reconciler", "b", lease_ms=100)


def test_a_wrong_password_is_told_without_saying_it(valkey: ValkeyServer) -> None:
    url = f"redis://:guess-me-not@127.0.0.1:{valkey.port}/0"

    with pytest.raises(BrokerUnavailable, match="refuses the login") as refused:
        Ledger(BrokerSettings(redis_url=url)).status(JOB)

    assert "guess-me-not" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    ledger = Ledger(BrokerSettings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match="does not answer"):
        begin(ledger)
    assert time.monotonic() - began < 5


def test_a_frozen_server_is_told_within_two_time_outs(
    start_valkey: Callable[..., ValkeyServer],
) -> None:
    server = start_valkey()
    settings = BrokerSettings(redis_url=server.url, redis_socket_timeout_seconds=0.5)
    ledger = Ledger(settings)
    enter(ledger)
    server.pause()
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match="does not answer"):
        begin(ledger)
    assert time.monotonic() - began < 3
    server.resume()


def test_a_full_server_refuses_without_half_a_move(
    start_valkey: Callable[..., ValkeyServer],
) -> None:
    server = start_valkey()
    ledger = Ledger(BrokerSettings(redis_url=server.url))
    with server.client(decode_responses=True) as client:
        enter(ledger)
        client.config_set("maxmemory", 1)
        before = contents(client)

        with pytest.raises(BrokerUnavailable, match="refused a command"):
            begin(ledger)

        assert contents(client) == before
        client.config_set("maxmemory", 0)
    assert begin(ledger).outcome == "begun"


def test_all_that_is_kept_of_an_attempt_is_readable_json(
    ledger: Ledger, server: redis.Redis
) -> None:
    enter(ledger)
    begin(ledger)
    message = 'a "quoted", \\escaped\\ line\nand [brackets], ünïcödé 很'
    record = failed_attempt().model_copy(update={"message": message})
    ledger.retry(JOB, 0, token="t1", delay_ms=0, record=record)
    begin(ledger, token="t2")
    ledger.retry(JOB, 0, token="t2", delay_ms=0, record=record)

    assert len(json.loads(str(server.hget(f"bulkscore:history:{JOB}", "0")))) == 2
    assert ledger.history(JOB, 0) == (record, record)
