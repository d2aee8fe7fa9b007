"""The reconciler keeps what is pending on the queue, with the real broker and a real list."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from producer.broker import Broker
from schemas.errors import BrokerUnavailable
from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.message import ChunkMessage
from schemas.reconciler import Pass, Reconciler
from schemas.resume import resume
from schemas.settings import BrokerSettings, ScheduleSettings
from schemas.storage import Storage
from support.ledger_moves import RETRYING, RUNNING, begin, retry
from support.queues import take, waiting
from support.servers import ValkeyServer
from support.stored_jobs import JOB, store_job
from support.waiting import wait_until

pytestmark = pytest.mark.integration

WINDOW = 4
GRACE_SECONDS = 0.4

Make = Callable[..., Reconciler]


@pytest.fixture
def make(redis_url: str, ledger: Ledger, storage: Storage) -> Make:
    def make(**settings: Any) -> Reconciler:
        quick = {"window_chunks": WINDOW, "enqueue_grace_seconds": 60, "reconcile_seconds": 0.05}
        schedule = ScheduleSettings(**{**quick, **settings})
        return Reconciler(ledger, storage, Broker(redis_url).publish, schedule)

    return make


@pytest.fixture
def job(storage: Storage, ledger: Ledger, disk_output: str) -> Manifest:
    manifest = store_job(storage, disk_output, chunks=10)
    resume(storage, ledger, manifest)
    return manifest


def chunks_waiting(server: redis.Redis) -> list[int]:
    return [message.chunk for message in waiting(server)]


@contextmanager
def running(reconciler: Reconciler) -> Iterator[threading.Thread]:
    """Let a reconciler run in a thread until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=reconciler.run_forever, args=(stop,))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(timeout=10)


# Filling the queue


def test_a_pass_fills_the_window_and_no_more(
    job: Manifest, make: Make, server: redis.Redis
) -> None:
    reconciler = make()

    assert reconciler.run_once() == [Pass(job_id=JOB, enqueued=4, expired=0)]
    assert reconciler.run_once() == [Pass(job_id=JOB, enqueued=0, expired=0)]

    assert chunks_waiting(server) == [0, 1, 2, 3]


def test_a_message_names_job_chunk_and_generation_and_nothing_else(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    ledger.reopen(JOB, [], generation=3)

    make(window_chunks=1).run_once()

    assert waiting(server) == [ChunkMessage(job_id=JOB, chunk=0, generation=3)]


def test_a_job_is_queued_with_its_own_priority(
    storage: Storage, ledger: Ledger, make: Make, server: redis.Redis, tmp_path: Path
) -> None:
    for priority in ("high", "low"):
        manifest = store_job(
            storage, str(tmp_path / priority), chunks=2, job_id=priority, priority=priority
        )
        resume(storage, ledger, manifest)

    make().run_once()

    assert {m.job_id for m in waiting(server, "high")} == {"high"}
    assert {m.job_id for m in waiting(server, "low")} == {"low"}
    assert waiting(server, "normal") == []


def test_what_workers_have_begun_is_topped_up(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make()
    reconciler.run_once()
    for number in range(2):
        begin(ledger, take(server).chunk, f"t{number}", worker=f"w{number}")

    assert reconciler.run_once()[0].enqueued == 2
    assert chunks_waiting(server) == [2, 3, 4, 5]


def test_each_job_has_a_window_of_its_own(
    job: Manifest, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis, tmp_path: Path
) -> None:
    resume(storage, ledger, store_job(storage, str(tmp_path / "b"), chunks=9, job_id="other"))

    make(enqueue_grace_seconds=0.001).run_once()
    time.sleep(0.05)
    make(enqueue_grace_seconds=0.001).run_once()

    assert Counter(m.job_id for m in waiting(server)) == {JOB: WINDOW, "other": WINDOW}


def test_only_the_job_that_was_asked_for_is_looked_after(
    job: Manifest, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis, tmp_path: Path
) -> None:
    resume(storage, ledger, store_job(storage, str(tmp_path / "b"), job_id="other"))

    passes = make().run_once(only="other")

    assert [p.job_id for p in passes] == ["other"]
    assert {m.job_id for m in waiting(server)} == {"other"}


def test_many_at_once_queue_no_chunk_twice(job: Manifest, make: Make, server: redis.Redis) -> None:
    reconcilers = [make(window_chunks=3) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            list(pool.map(lambda reconciler: reconciler.run_once(), reconcilers))

    assert chunks_waiting(server) == [0, 1, 2]


# What was lost


def test_a_lost_message_is_put_back_after_the_grace_and_not_before(
    job: Manifest, make: Make, server: redis.Redis
) -> None:
    reconciler = make(enqueue_grace_seconds=GRACE_SECONDS)
    began = time.monotonic()
    reconciler.run_once()
    lost = [take(server).chunk for _ in range(2)]

    while not (put_back := reconciler.run_once()[0].enqueued):
        assert time.monotonic() - began < 5
        time.sleep(0.02)

    assert time.monotonic() - began >= GRACE_SECONDS
    assert put_back == 2
    assert sorted(chunks_waiting(server)[-2:]) == lost == [0, 1]
    assert reconciler.run_once()[0].enqueued == 0


def test_messages_that_only_wait_long_are_not_sent_twice(
    job: Manifest, make: Make, server: redis.Redis
) -> None:
    reconciler = make(enqueue_grace_seconds=0.05)
    reconciler.run_once()
    time.sleep(0.1)

    assert reconciler.run_once()[0].enqueued == 0
    assert chunks_waiting(server) == [0, 1, 2, 3]


def test_messages_that_could_not_be_sent_are_sent_after_the_grace(
    job: Manifest, ledger: Ledger, storage: Storage, make: Make, server: redis.Redis
) -> None:
    def refuse(messages: Any, priority: Any) -> None:
        raise BrokerUnavailable("messages not sent")

    schedule = ScheduleSettings(window_chunks=WINDOW)
    assert Reconciler(ledger, storage, refuse, schedule).run_once() == []

    time.sleep(GRACE_SECONDS)
    make(enqueue_grace_seconds=GRACE_SECONDS).run_once()

    assert chunks_waiting(server) == [0, 1, 2, 3]


def test_a_queue_emptied_by_hand_is_filled_again(
    job: Manifest, make: Make, server: redis.Redis
) -> None:
    make().run_once()
    server.delete("bulkscore.normal")
    time.sleep(0.1)

    assert make(enqueue_grace_seconds=0.05).run_once()[0].enqueued == WINDOW


def test_a_retry_is_queued_once_its_time_has_come(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make(window_chunks=1)
    reconciler.run_once()
    begin(ledger, take(server).chunk)
    began = time.monotonic()
    retry(ledger, 0, delay_ms=300)
    reconciler.run_once()
    assert take(server).chunk == 1
    begin(ledger, 1, "t2", worker="w2")

    reconciler = make(window_chunks=20)
    reconciler.run_once()
    assert 0 not in chunks_waiting(server)
    assert ledger.state_of(JOB, 0) is RETRYING
    wait_until(lambda: reconciler.run_once()[0].enqueued, timeout=5, interval=0.02)

    assert time.monotonic() - began >= 0.3
    assert chunks_waiting(server)[-1] == 0


def test_a_chunk_whose_worker_vanished_is_queued_again(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make(window_chunks=2)
    reconciler.run_once()
    for number in range(2):
        chunk = take(server).chunk
        begin(ledger, chunk, f"t{number}", worker=f"w{number}", lease_ms=150 if chunk else 60_000)
    assert reconciler.run_once()[0].expired == 0
    time.sleep(0.2)

    (made,) = make(window_chunks=10).run_once()

    assert made.expired == 1
    assert chunks_waiting(server).count(1) == 1
    assert ledger.state_of(JOB, 0) is RUNNING


# Living on


def test_the_loop_works_by_itself_and_stops_promptly(
    job: Manifest, make: Make, server: redis.Redis
) -> None:
    with running(make()) as thread:
        wait_until(lambda: waiting(server))
        began = time.monotonic()

    assert not thread.is_alive()
    assert time.monotonic() - began < 1


def test_a_loop_that_dawdles_stops_promptly_as_well(make: Make) -> None:
    began = time.monotonic()

    with running(make(reconcile_seconds=600)) as thread:
        pass

    assert not thread.is_alive()
    assert time.monotonic() - began < 1


def test_one_at_a_time_is_elected_and_another_when_it_is_gone(make: Make) -> None:
    first, second = make(), make()

    assert first.elected()
    assert not second.elected()
    assert first.elected()
    wait_until(second.elected, timeout=5)
    assert not first.elected()


def test_one_whose_pass_takes_long_stays_elected_meanwhile(
    job: Manifest, ledger: Ledger, storage: Storage, make: Make
) -> None:
    publishing, published = threading.Event(), threading.Event()

    def dawdle(messages: Any, priority: Any) -> None:
        publishing.set()
        published.wait(10)

    schedule = ScheduleSettings(reconcile_seconds=0.05)
    with running(Reconciler(ledger, storage, dawdle, schedule)):
        assert publishing.wait(5)
        time.sleep(1)  # the lease is a quarter of that
        assert not make().elected()
        published.set()


def test_the_loop_outlives_a_broker_that_went_away_and_came_back_empty(
    start_valkey: Callable[..., ValkeyServer], storage: Storage, disk_output: str
) -> None:
    server = start_valkey()
    broker = BrokerSettings(redis_url=server.url, redis_socket_timeout_seconds=0.5)
    ledger, schedule = Ledger(broker), ScheduleSettings(reconcile_seconds=0.05)
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)

    with running(Reconciler(ledger, storage, Broker(server.url).publish, schedule)):
        wait_until(lambda: ledger.queue_length("normal") == 4)
        server.stop()
        time.sleep(0.3)
        server.start()
        resume(storage, ledger, manifest)
        wait_until(lambda: ledger.queue_length("normal") == 4)


def test_a_bug_in_one_pass_does_not_end_the_loop(
    job: Manifest, ledger: Ledger, storage: Storage, server: redis.Redis
) -> None:
    sent: list[int] = []

    def publish(messages: Any, priority: Any) -> None:
        if not sent:
            sent.append(0)
            raise ZeroDivisionError
        sent.extend(message.chunk for message in messages)

    schedule = ScheduleSettings(
        reconcile_seconds=0.05, enqueue_grace_seconds=0.1, window_chunks=WINDOW
    )
    with running(Reconciler(ledger, storage, publish, schedule)):
        wait_until(lambda: sent[1:] == [0, 1, 2, 3], message=lambda: f"the messages, not {sent}")
