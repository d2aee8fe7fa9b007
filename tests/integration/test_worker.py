"""A real worker and its child: the order of work, a long chunk, an orderly stop, a sudden death."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import redis

from producer.broker import Broker
from producer.manifest import create_job
from schemas import layout
from schemas.finalize import read_summary
from schemas.job import JobSpec, Manifest, Priority
from schemas.ledger import Ledger
from schemas.manifest import read_manifest
from schemas.model_files import pin_model
from schemas.reconciler import Reconciler
from schemas.results import read_account
from schemas.resume import resume
from schemas.settings import ScheduleSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.job_bench import JOB, JobBench
from support.processes import RunningCli, start_command
from support.queues import waiting
from support.stored_jobs import store_result
from support.texts import distinct_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

START_SECONDS = 60.0
VISIBILITY_SECONDS = 2
# So long that no test can wait for its end.
LEASE_SECONDS = 600

StartWorker = Callable[..., RunningCli]


@pytest.fixture
def start_worker(redis_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers that end with the test."""
    with ExitStack() as workers:

        def start(**settings: object) -> RunningCli:
            env = {
                "BULKSCORE_REDIS_URL": redis_url,
                "BULKSCORE_RECONCILE_SECONDS": "0.2",
                "BULKSCORE_TORCH_THREADS": "1",
                "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "model-cache"),
                **{f"BULKSCORE_{name}".upper(): str(value) for name, value in settings.items()},
            }
            command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
            return workers.enter_context(start_command(command, env=env))

        yield start


@pytest.fixture
def submit(bench_model: Path, tmp_path: Path, storage: Storage, ledger: Ledger, redis_url: str):
    """Submit jobs whose rows are batches of their own, so that a chunk of many takes long."""

    def submit(name: str, *, rows: int, chunk_rows: int, priority: Priority = "normal") -> Manifest:
        corpus = tmp_path / f"{name}.parquet"
        write_table(corpus, make_table(distinct_texts(rows)), row_group_rows=chunk_rows)
        spec = JobSpec(
            inputs=(str(corpus),),
            output=str(tmp_path / name),
            model=str(bench_model),
            text_column="text",
            chunk_rows=chunk_rows,
            token_budget=1,
            priority=priority,
        )
        manifest = create_job(storage, spec, pin_model(storage, spec.model), job_id=name)
        resume(storage, ledger, manifest)
        schedule = ScheduleSettings()
        Reconciler(ledger, storage, Broker(redis_url).publish, schedule).run_once(only=name)
        return manifest

    return submit


@pytest.fixture
def start_warm_worker(start_worker: StartWorker, submit, ledger: Ledger) -> StartWorker:
    """Start a worker and wait until its child has loaded the model, which takes seconds."""

    def start(**settings: object) -> RunningCli:
        worker = start_worker(**settings)
        job = f"warm-{worker.pid}"
        submit(job, rows=2, chunk_rows=2)
        wait_until(lambda: ledger.status(job).ended, START_SECONDS)
        return worker

    return start


def child_of(worker: RunningCli) -> psutil.Process:
    """Return the process that computes."""
    children = psutil.Process(worker.pid).children()
    (child,) = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
    return child


def wait_until_scoring(ledger: Ledger, job_id: str, chunk: int = 0) -> None:
    """Wait until an attempt at the chunk runs and had time for its first batches."""
    running = ChunkState.RUNNING
    wait_until(lambda: ledger.state_of(job_id, chunk) is running, START_SECONDS, interval=0.02)
    time.sleep(0.2)


def test_the_more_urgent_queue_is_drained_before_the_less_urgent(
    start_worker: StartWorker, submit, ledger: Ledger
) -> None:
    jobs = [
        submit(priority, rows=12, chunk_rows=4, priority=priority)
        for priority in ("low", "normal", "high")
    ]

    start_worker()
    wait_until(lambda: all(ledger.status(job.job_id).ended for job in jobs), START_SECONDS)

    results = [
        Path(layout.result(job.spec.output, chunk)) for job in jobs for chunk in range(job.chunks)
    ]
    order = [path.parent.name for path in sorted(results, key=lambda p: p.stat().st_mtime_ns)]
    assert order == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3


def test_a_message_held_for_longer_than_its_visibility_is_not_handed_out_again(
    start_warm_worker: StartWorker, submit, ledger: Ledger, server: redis.Redis, storage: Storage
) -> None:
    worker = start_warm_worker(visibility_seconds=VISIBILITY_SECONDS)
    job = submit("long", rows=2_500, chunk_rows=2_500)
    wait_until_scoring(ledger, "long")
    child = child_of(worker)
    child.suspend()  # the chunk takes as long as the test wants

    for _ in range(10):  # kept at 2 s, looked for every 2 s
        time.sleep(0.5)
        assert waiting(server) == []
        assert server.zcard("unacked_index") == 1
    child.resume()
    wait_until(lambda: ledger.status("long").ended, START_SECONDS)

    assert read_account(storage, layout.result(job.spec.output, 0)).attempt == 1
    assert server.zcard("unacked_index") == 0


def test_a_worker_told_to_stop_hands_its_chunk_back_uncharged_and_leaves(
    start_warm_worker: StartWorker, submit, ledger: Ledger, server: redis.Redis
) -> None:
    worker = start_warm_worker()
    job = submit("stopped", rows=20_000, chunk_rows=20_000)
    wait_until_scoring(ledger, "stopped")
    began = time.monotonic()

    exit_code = worker.terminate(timeout=20)

    assert exit_code == 0, worker
    assert time.monotonic() - began < 8
    wait_until(lambda: worker.processes() == [], timeout=5)
    assert ledger.state_of("stopped", 0) is ChunkState.QUEUED
    assert server.exists("bulkscore:attempts:stopped", "bulkscore:owners:stopped") == 0
    assert not os.path.exists(layout.result(job.spec.output, 0))


@pytest.mark.slow
def test_a_chunk_whose_child_was_killed_is_free_for_all_workers_before_its_lease_ends(
    start_warm_worker: StartWorker, submit, ledger: Ledger, server: redis.Redis
) -> None:
    busy = start_warm_worker(lease_seconds=LEASE_SECONDS)
    submit("killed", rows=20_000, chunk_rows=20_000)
    wait_until_scoring(ledger, "killed")
    start_warm_worker()  # idle, so that it is the first to see the message of the dead child

    child_of(busy).send_signal(signal.SIGKILL)

    wait_until(
        lambda: server.hget("bulkscore:attempts:killed", "0") == "2",
        LEASE_SECONDS / 5,
        message=lambda: f"{busy}",
    )


def test_a_chunk_whose_child_was_killed_is_taken_over_by_the_same_worker_before_its_lease_ends(
    start_warm_worker: StartWorker, submit, ledger: Ledger, server: redis.Redis, storage: Storage
) -> None:
    worker = start_warm_worker(lease_seconds=LEASE_SECONDS)
    job = submit("killed", rows=5_000, chunk_rows=2_500)
    wait_until_scoring(ledger, "killed")
    child = child_of(worker)
    (first,) = ledger.workers("killed")

    child.send_signal(signal.SIGKILL)

    wait_until(
        lambda: server.hget("bulkscore:attempts:killed", "0") == "2",
        LEASE_SECONDS / 5,
        message=lambda: f"{worker}",
    )
    wait_until(lambda: ledger.status("killed").ended, START_SECONDS)
    summary = read_summary(storage, job.spec.output)
    assert (summary.state, summary.rows_scored) == (JobState.SUCCEEDED, 5_000)
    accounts = [read_account(storage, layout.result(job.spec.output, c)) for c in range(2)]
    assert [account.attempt for account in accounts] == [2, 1]
    assert {account.worker for account in accounts} == {first}
    rows = pq.read_table(layout.result(job.spec.output, 0)).column("source_row")
    assert rows.to_pylist() == list(range(2_500))
    assert worker.poll() is None


def test_a_chunk_begun_too_often_is_scored_carefully_unless_its_result_is_there(
    job_bench: JobBench, storage: Storage
) -> None:
    job_bench.submit()
    manifest = read_manifest(storage, str(job_bench.output))
    for number in range(ScheduleSettings().max_attempts):
        for chunk in (0, 1):
            begin_as("hand@test", job_bench.ledger, chunk, f"t{number}")
    store_result(storage, manifest, 1, rows=25, rows_scored=25)

    outcomes = job_bench.worker.work()

    assert outcomes == ["succeeded"] * 4
    assert read_account(storage, layout.result(manifest.spec.output, 0)).attempt == 5
    assert read_account(storage, layout.result(manifest.spec.output, 1)).attempt == 1
    assert job_bench.status().rows_scored == 100


def begin_as(worker: str, ledger: Ledger, chunk: int, token: str) -> None:
    ledger.begin(JOB, chunk, token=token, worker=worker, lease_ms=60_000, max_attempts=4)
