"""Jobs that Redis has lost are entered again by whoever remembers them, unless they had ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from producer.broker import Broker
from schemas import layout
from schemas.errors import StorageUnavailable
from schemas.job import ErrorBudget, Manifest
from schemas.ledger import Ledger
from schemas.reconciler import Reconciler
from schemas.resume import resume
from schemas.settings import ScheduleSettings
from schemas.states import JobState
from schemas.storage import Storage
from support.job_bench import JOB as BENCH_JOB
from support.job_bench import JobBench
from support.ledger_moves import CANCELLED, QUEUED, SUCCEEDED
from support.queues import waiting
from support.servers import ValkeyServer
from support.stored_jobs import JOB, store_job, store_result
from support.waiting import wait_until

pytestmark = pytest.mark.integration

Make = Callable[[], Reconciler]


@pytest.fixture
def make(redis_url: str, ledger: Ledger, storage: Storage) -> Make:
    """Make the reconciler of one more process."""
    settings = ScheduleSettings(reconcile_seconds=0.05)
    return lambda: Reconciler(ledger, storage, Broker(redis_url).publish, settings)


@pytest.fixture
def job(storage: Storage, ledger: Ledger, output: str) -> Manifest:
    """A job of which one of four chunks has a result."""
    return enter(storage, ledger, output)


def enter(storage: Storage, ledger: Ledger, output: str, **options: Any) -> Manifest:
    manifest = store_job(storage, output, **options)
    resume(storage, ledger, manifest)
    ledger.finish(manifest.job_id, 0, store_result(storage, manifest, 0, nulls=2))
    return manifest


def test_a_lost_job_is_entered_again_with_what_it_had(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make()
    reconciler.look_after()
    server.flushall()

    reconciler.look_after()

    assert ledger.states(JOB) == [SUCCEEDED, QUEUED, QUEUED, QUEUED]
    assert [message.chunk for message in waiting(server)] == [1, 2, 3]


def test_one_that_was_never_elected_remembers_as_well(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    elected, other = make(), make()
    elected.look_after()
    other.look_after()
    server.flushall()

    other.look_after()

    assert ledger.active() == [JOB]


def test_only_the_elected_one_enters_it_again(
    job: Manifest, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    other = make()
    other.look_after()
    server.flushall()
    assert make().elected()

    other.look_after()
    assert ledger.active() == []

    def comes_back() -> bool:
        other.look_after()
        return ledger.active() == [JOB]

    wait_until(comes_back, timeout=5, interval=0.05)


def test_a_job_that_had_ended_stays_away(
    job: Manifest, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make()
    reconciler.look_after()
    storage.create(layout.summary(job.spec.output), b"{}")
    server.flushall()

    reconciler.look_after()

    assert not ledger.knows(JOB)


def test_a_job_that_ends_is_forgotten(
    storage: Storage, ledger: Ledger, make: Make, server: redis.Redis, disk_output: str
) -> None:
    manifest = enter(storage, ledger, disk_output, chunks=1)
    reconciler = make()
    reconciler.look_after()
    reconciler.look_after()
    assert ledger.status(JOB).ended
    storage.delete(layout.summary(manifest.spec.output))
    server.flushall()

    reconciler.look_after()

    assert not ledger.knows(JOB)


def test_a_cancelled_job_comes_back_as_cancelled_and_is_ended(
    job: Manifest, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    reconciler = make()
    reconciler.look_after()
    storage.create(layout.cancelled(job.spec.output), b"{}")
    server.flushall()

    reconciler.look_after()

    assert ledger.states(JOB) == [SUCCEEDED, CANCELLED, CANCELLED, CANCELLED]
    assert ledger.status(JOB).ended
    assert waiting(server) == []


def test_a_job_above_its_error_budget_comes_back_as_stopped(
    storage: Storage, ledger: Ledger, make: Make, server: redis.Redis, disk_output: str
) -> None:
    enter(storage, ledger, disk_output, max_row_errors=ErrorBudget(count=1))
    reconciler = make()
    reconciler._remember()  # the job is lost before a pass could write its summary
    server.flushall()

    reconciler.look_after()

    status = ledger.status(JOB)
    assert (status.state, status.stopped_by) == (JobState.FAILED, "rows_error")
    assert waiting(server) == []


def test_a_job_whose_output_is_gone_keeps_no_other_from_coming_back(
    job: Manifest,
    storage: Storage,
    ledger: Ledger,
    make: Make,
    server: redis.Redis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    enter(storage, ledger, str(tmp_path / "gone"), job_id="a-gone")
    reconciler = make()
    reconciler.look_after()
    storage.delete(layout.manifest(str(tmp_path / "gone")))
    server.flushall()

    reconciler.look_after()
    reconciler.look_after()

    assert ledger.active() == [JOB]
    assert caplog.text.count("job a-gone cannot be entered again") == 1


def test_a_job_whose_store_is_away_comes_back_with_it(
    redis_url: str, ledger: Ledger, server: redis.Redis, disk_output: str
) -> None:
    class Fickle(Storage):
        away = False

        def read(self, uri: str, **options: Any) -> bytes:
            if self.away:
                raise StorageUnavailable("no answer")
            return super().read(uri, **options)

    storage = Fickle()
    enter(storage, ledger, disk_output)
    reconciler = Reconciler(ledger, storage, Broker(redis_url).publish, ScheduleSettings())
    reconciler.look_after()
    server.flushall()
    storage.away = True
    reconciler.look_after()
    assert not ledger.knows(JOB)
    storage.away = False

    reconciler.look_after()

    assert ledger.active() == [JOB]


def test_a_pass_by_hand_enters_the_job_under_an_output_again(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.worker.work(most=3)
    valkey.empty()

    passes = job_bench.cli("reconcile", "--output", str(job_bench.output), "--json").json()

    assert [(p["job_id"], p["enqueued"]) for p in passes] == [(BENCH_JOB, 1)]
    assert job_bench.worker.work() == ["succeeded"]
    job_bench.cli("wait", BENCH_JOB)
    valkey.empty()
    again = job_bench.cli("reconcile", "--output", str(job_bench.output), "--json")
    assert again.json() == []
