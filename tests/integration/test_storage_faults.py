"""What workers make of storage that is away, full of others, or closed to them."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from producer.broker import Broker
from producer.manifest import create_job
from producer.reprocess import find_dead_letters
from schemas import layout
from schemas.finalize import read_summary
from schemas.job import JobSpec, Manifest
from schemas.ledger import Ledger
from schemas.model_files import pin_model
from schemas.reconciler import Reconciler
from schemas.results import read_account
from schemas.resume import resume
from schemas.settings import ScheduleSettings, StorageSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.flaky_s3 import FlakyGateway, Refusal, flaky_gateway
from support.hand_worker import HandWorker
from support.job_bench import JobBench
from support.processes import RunningCli, start_command
from support.s3 import S3Bucket
from support.texts import distinct_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

JOB = "faulty"
START_SECONDS = 90.0
OUTAGE_SECONDS = 20.0

StartWorker = Callable[..., RunningCli]
Submit = Callable[..., Manifest]


@pytest.fixture
def gateway(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyGateway]:
    """A gateway that the worker goes through; the test itself looks behind it."""
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    with flaky_gateway(s3_bucket) as gateway:
        yield gateway


@pytest.fixture
def behind(s3_bucket: S3Bucket, gateway: FlakyGateway) -> Storage:
    """Storage without the gateway."""
    return Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))


@pytest.fixture
def submit(
    bench_model: Path,
    tmp_path: Path,
    s3_bucket: S3Bucket,
    behind: Storage,
    ledger: Ledger,
    redis_url: str,
) -> Submit:
    """Submit a job from S3 to S3; each row is a batch of its own, so that a chunk takes a while."""

    def submit(*, files: int, rows: int, chunk_rows: int) -> Manifest:
        for number in range(files):
            local = tmp_path / f"{number}.parquet"
            write_table(local, make_table(distinct_texts(rows)), row_group_rows=chunk_rows)
            behind.create(s3_bucket.key_uri(f"corpus/{number}.parquet"), local.read_bytes())
        spec = JobSpec(
            inputs=(s3_bucket.key_uri("corpus"),),
            output=s3_bucket.key_uri("scored"),
            model=str(bench_model),
            text_column="text",
            chunk_rows=chunk_rows,
            token_budget=1,
        )
        manifest = create_job(behind, spec, pin_model(behind, spec.model), job_id=JOB)
        resume(behind, ledger, manifest)
        reconcile(behind, ledger, redis_url)
        return manifest

    return submit


def reconcile(storage: Storage, ledger: Ledger, redis_url: str) -> None:
    Reconciler(ledger, storage, Broker(redis_url).publish, ScheduleSettings()).run_once(only=JOB)


# With a real worker


@pytest.fixture
def start_worker(
    redis_url: str, tmp_path: Path, s3_bucket: S3Bucket, gateway: FlakyGateway
) -> Iterator[StartWorker]:
    """Start workers behind the gateway that end with the test."""
    with ExitStack() as workers:

        def start(**settings: object) -> RunningCli:
            env = {
                **s3_bucket.env,
                "BULKSCORE_S3_ENDPOINT_URL": gateway.url,
                "BULKSCORE_REDIS_URL": redis_url,
                "BULKSCORE_RECONCILE_SECONDS": "0.2",
                "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
                "BULKSCORE_TORCH_THREADS": "1",
                "BULKSCORE_MAX_ATTEMPTS": "2",
                "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "model-cache"),
                **{f"BULKSCORE_{name}".upper(): str(value) for name, value in settings.items()},
            }
            command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
            return workers.enter_context(start_command(command, env=env))

        yield start


@pytest.mark.parametrize("kind", ["down", pytest.param("frozen", marks=pytest.mark.slow)])
def test_a_store_that_is_away_for_a_while_buries_nothing_and_is_not_stormed(
    gateway: FlakyGateway,
    behind: Storage,
    ledger: Ledger,
    submit: Submit,
    start_worker: StartWorker,
    kind: str,
) -> None:
    """The lease is shorter than a frozen store is waited for: it is renewed meanwhile."""
    job = submit(files=1, rows=4_000, chunk_rows=400)
    worker = start_worker(s3_read_timeout_seconds=1, lease_seconds=3)
    succeeded = ChunkState.SUCCEEDED
    wait_until(lambda: ledger.status(JOB).chunks[succeeded] >= 2, START_SECONDS, interval=0.05)

    before = len(gateway.requests)
    gateway.outage = "down" if kind == "down" else "frozen"
    time.sleep(OUTAGE_SECONDS)
    during = len(gateway.requests) - before
    done_meanwhile = ledger.status(JOB).chunks[succeeded]
    gateway.outage = None
    wait_until(lambda: ledger.status(JOB).ended, START_SECONDS)

    assert done_meanwhile < job.chunks
    summary = read_summary(behind, job.spec.output)
    assert (summary.state, summary.chunks_dead) == (JobState.SUCCEEDED, 0)
    accounts = [read_account(behind, layout.result(job.spec.output, c)) for c in range(job.chunks)]
    assert {account.attempt for account in accounts} == {1}, worker
    assert 0 < during < 25
    assert 1 <= worker.stderr.count("waits for storage") <= 8, worker
    assert "serves again" in worker.stderr, worker


def test_a_worker_told_to_stop_while_it_waits_for_storage_leaves_at_once(
    gateway: FlakyGateway,
    ledger: Ledger,
    submit: Submit,
    start_worker: StartWorker,
    server: redis.Redis,
) -> None:
    job = submit(files=1, rows=400, chunk_rows=100)
    gateway.outage = "down"
    worker = start_worker()
    wait_until(
        lambda: worker.stderr.count("waits for storage") >= 4,
        START_SECONDS,
        message=lambda: str(worker),
    )
    began = time.monotonic()

    exit_code = worker.terminate(timeout=20)

    assert exit_code == 0, worker
    assert time.monotonic() - began < 8
    assert ledger.status(JOB).chunks[ChunkState.QUEUED] == job.chunks
    assert server.exists(f"bulkscore:attempts:{JOB}", f"bulkscore:owners:{JOB}") == 0


@pytest.mark.slow
def test_a_store_that_throttles_a_third_of_all_requests_only_slows_a_job_down(
    gateway: FlakyGateway,
    behind: Storage,
    ledger: Ledger,
    submit: Submit,
    start_worker: StartWorker,
) -> None:
    job = submit(files=2, rows=300, chunk_rows=100)
    # Every third one; how they fall on the calls of a worker is up to its threads.
    gateway.fails = lambda _method, _path: len(gateway.requests) % 3 == 0

    worker = start_worker()
    wait_until(lambda: ledger.status(JOB).ended, START_SECONDS, message=lambda: str(worker))

    assert read_summary(behind, job.spec.output).state is JobState.SUCCEEDED
    assert gateway.failed > job.chunks


# With a worker that the test plays


@pytest.fixture
def hand_worker(
    redis_url: str, tmp_path: Path, gateway: FlakyGateway, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HandWorker]:
    monkeypatch.setenv("BULKSCORE_S3_ENDPOINT_URL", gateway.url)
    worker = HandWorker(redis_url, tmp_path / "model-cache")
    yield worker
    worker.close()


def test_an_input_that_is_denied_buries_its_chunks_and_no_other(
    gateway: FlakyGateway, behind: Storage, ledger: Ledger, submit: Submit, hand_worker: HandWorker
) -> None:
    job = submit(files=3, rows=20, chunk_rows=10)
    gateway.fails = lambda _method, path: "/1.parquet" in path and Refusal(403, "AccessDenied")

    outcomes = hand_worker.work()

    assert sorted(outcomes) == ["dead"] * 2 + ["succeeded"] * 4
    _, letters = find_dead_letters(behind, job)
    assert {letter.code for letter in letters} == {"access_denied"}
    assert {letter.file.uri.rpartition("/")[2] for letter in letters if letter.file} == {
        "1.parquet"
    }


def test_an_output_that_is_denied_halts_the_job_which_goes_on_when_it_is_opened(
    gateway: FlakyGateway,
    behind: Storage,
    ledger: Ledger,
    submit: Submit,
    hand_worker: HandWorker,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = submit(files=1, rows=60, chunk_rows=10)
    gateway.fails = lambda method, _path: method == "PUT" and Refusal(403, "AccessDenied")

    outcomes = hand_worker.work()

    assert outcomes == ["retrying", *["halted"] * 5]
    assert ledger.status(JOB).state is JobState.FAILED
    (told,) = [r.getMessage() for r in caplog.records if "is halted" in r.getMessage()]
    assert f"bulkscore resume {job.spec.output}" in told
    assert "access_denied" in told
    gateway.fails = lambda _method, _path: False
    finish(job, behind, ledger, hand_worker, redis_url)


def test_credentials_that_expire_halt_the_job_which_goes_on_with_new_ones(
    gateway: FlakyGateway,
    behind: Storage,
    ledger: Ledger,
    submit: Submit,
    hand_worker: HandWorker,
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = submit(files=2, rows=30, chunk_rows=10)
    assert hand_worker.work(2) == ["succeeded"] * 2
    gateway.fails = lambda _method, _path: Refusal(400, "ExpiredToken")

    outcomes = hand_worker.work()

    assert outcomes == ["retrying", *["halted"] * 3]
    assert ledger.status(JOB).state is JobState.FAILED
    (told,) = [r.getMessage() for r in caplog.records if "is halted" in r.getMessage()]
    assert "ExpiredToken" in told
    gateway.fails = lambda _method, _path: False
    finish(job, behind, ledger, hand_worker, redis_url)


def test_a_bucket_that_vanishes_halts_the_job(
    gateway: FlakyGateway, ledger: Ledger, submit: Submit, hand_worker: HandWorker
) -> None:
    submit(files=2, rows=30, chunk_rows=10)
    assert hand_worker.work(1) == ["succeeded"]
    gateway.fails = lambda _method, _path: Refusal(404, "NoSuchBucket")

    assert hand_worker.work() == ["retrying", *["halted"] * 4]


def finish(
    job: Manifest, storage: Storage, ledger: Ledger, worker: HandWorker, redis_url: str
) -> None:
    """Resume the job, score what is left and check that nothing of it is dead."""
    resume(storage, ledger, job)
    reconcile(storage, ledger, redis_url)
    worker.work()
    reconcile(storage, ledger, redis_url)
    summary = read_summary(storage, job.spec.output)
    assert (summary.state, summary.chunks_dead) == (JobState.SUCCEEDED, 0)


def test_a_full_disk_is_waited_for_and_costs_a_chunk_no_attempt(
    job_bench: JobBench,
    small_disk: Path,
    storage: Storage,
    server: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = replace(job_bench, folder=small_disk)
    assert bench.submit().exit_code == 0
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
        for _ in range(10_000):
            filler.write(bytes(1_000))
            filler.flush()

    assert bench.worker.work(2) == ["handed_back"] * 2

    assert server.exists("bulkscore:attempts:nightly") == 0
    assert "storage_full" in caplog.text
    assert list(bench.output.glob("part-*")) == []
    assert list(bench.output.rglob(".*.tmp")) == []
    (small_disk / "filler").unlink()

    def ends() -> bool:
        bench.cli("reconcile")
        bench.worker.work()
        return bench.status().ended

    wait_until(ends, START_SECONDS)
    assert read_summary(storage, str(bench.output)).state is JobState.SUCCEEDED


def test_a_store_that_is_away_costs_a_chunk_no_attempt(
    gateway: FlakyGateway,
    ledger: Ledger,
    submit: Submit,
    hand_worker: HandWorker,
    server: redis.Redis,
) -> None:
    submit(files=1, rows=10, chunk_rows=10)
    gateway.outage = "down"

    assert hand_worker.work() == ["handed_back"]

    assert server.exists(f"bulkscore:attempts:{JOB}") == 0
    assert ledger.state_of(JOB, 0) is ChunkState.QUEUED
    assert ledger.history(JOB, 0) == ()
