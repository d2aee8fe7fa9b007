"""Redis fails in the midst of a job, and the same worker brings the job to its end by itself.

One server with its data on disk, one worker, and one fault after the other: what outlives one
fault must be sound enough for the next.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from producer.broker import Broker
from producer.manifest import create_job
from producer.verify import verify
from schemas.errors import BrokerUnavailable, JobUnknown
from schemas.finalize import read_summary
from schemas.job import JobSpec, Manifest
from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.model_files import pin_model
from schemas.reconciler import Reconciler
from schemas.resume import resume
from schemas.settings import BrokerSettings, ScheduleSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.processes import RunningCli, run_cli, start_command
from support.servers import ValkeyServer
from support.texts import distinct_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

START_SECONDS = 90.0
# From the end of a fault to the end of the job: connections come back after a few seconds, chunks
# whose lease or message was lost after LEASE_SECONDS or GRACE_SECONDS.
RECOVERY_SECONDS = 45.0
LEASE_SECONDS = 3
GRACE_SECONDS = 2
CHUNKS = 6
ROWS = 400 * CHUNKS


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A server that fails when it is told to, and a worker."""

    redis: ValkeyServer
    worker: RunningCli
    model: Path
    env: dict[str, str]

    @property
    def ledger(self) -> Ledger:
        """The ledger, for a test that does not wait long for an answer."""
        settings = BrokerSettings(
            redis_url=self.redis.url,
            redis_connect_timeout_seconds=1,
            redis_socket_timeout_seconds=1,
        )
        return Ledger(settings)

    def submit(self, folder: Path) -> Manifest:
        """Submit a job whose rows are batches of their own, so that it takes some seconds."""
        corpus = folder / "corpus.parquet"
        write_table(corpus, make_table(distinct_texts(ROWS)), row_group_rows=ROWS // CHUNKS)
        spec = JobSpec(
            inputs=(str(corpus),),
            output=str(folder / "scored"),
            model=str(self.model),
            text_column="text",
            id_columns=("id",),
            chunk_rows=ROWS // CHUNKS,
            token_budget=1,
        )
        storage = Storage()
        name = folder.name.replace("_", "-")[-40:].strip("-.")
        manifest = create_job(storage, spec, pin_model(storage, spec.model), job_id=name)
        resume(storage, self.ledger, manifest)
        publish = Broker(self.redis.url).publish
        Reconciler(self.ledger, storage, publish, ScheduleSettings()).run_once(only=name)
        return manifest

    def status(self, job: Manifest) -> JobStatus | None:
        """Return where the job is, None while nobody can tell."""
        try:
            return self.ledger.status(job.job_id)
        except (BrokerUnavailable, JobUnknown):
            return None

    def wait_until_under_way(self, job: Manifest) -> None:
        """Wait until the job has results and has work left."""

        def under_way() -> bool:
            status = self.status(job)
            return status is not None and status.chunks[ChunkState.SUCCEEDED] > 0

        wait_until(under_way, START_SECONDS, interval=0.02)
        status = self.status(job)
        assert status is not None
        assert status.pending, "the job was over before the fault: make it longer"

    def wait_until_ended(self, job: Manifest) -> None:
        """Wait until the job has ended."""

        def ended() -> bool:
            status = self.status(job)
            return status is not None and status.ended

        wait_until(ended, RECOVERY_SECONDS, message=lambda: f"the end of the job\n{self.worker}")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, bench_model: Path) -> Iterator[Stand]:
    """Run a server and a worker for the whole module."""
    folder = tmp_path_factory.mktemp("redis-faults")
    with ValkeyServer(folder, append_only=True) as server:
        env = {
            "BULKSCORE_REDIS_URL": server.url,
            "BULKSCORE_REDIS_CONNECT_TIMEOUT_SECONDS": "1",
            "BULKSCORE_REDIS_SOCKET_TIMEOUT_SECONDS": "1",
            "BULKSCORE_RECONCILE_SECONDS": "0.3",
            "BULKSCORE_LEASE_SECONDS": str(LEASE_SECONDS),
            "BULKSCORE_ENQUEUE_GRACE_SECONDS": str(GRACE_SECONDS),
            "BULKSCORE_VISIBILITY_SECONDS": "5",
            "BULKSCORE_TORCH_THREADS": "1",
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "models"),
        }
        command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
        with start_command(command, env=env) as worker:
            yield Stand(redis=server, worker=worker, model=bench_model, env=env)


@pytest.fixture
def job(stand: Stand, tmp_path: Path) -> Manifest:
    """A job of which some chunks have a result and some are to be scored."""
    manifest = stand.submit(tmp_path)
    stand.wait_until_under_way(manifest)
    return manifest


def assert_whole(stand: Stand, job: Manifest) -> None:
    """Check that the job has ended with each row once, and that the worker never went."""
    stand.wait_until_ended(job)
    storage = Storage()
    summary = read_summary(storage, job.spec.output)
    assert (summary.state, summary.rows_scored) == (JobState.SUCCEEDED, ROWS)
    report = verify(storage, job.spec.output)
    assert (report.sound, report.complete, report.findings) == (True, True, ())
    assert stand.worker.poll() is None, stand.worker


def restart_with_data(server: ValkeyServer) -> None:
    server.kill()
    server.start()


def be_away(server: ValkeyServer) -> None:
    server.stop()
    time.sleep(4)
    server.start()


def freeze(server: ValkeyServer) -> None:
    server.pause()
    time.sleep(4)
    server.resume()


def be_full(server: ValkeyServer) -> None:
    server.fill_up()
    time.sleep(3)
    server.make_room()


def cut_thrice(server: ValkeyServer) -> None:
    for _ in range(3):
        server.cut_connections()
        time.sleep(0.3)


@pytest.mark.parametrize(
    "fault",
    [
        cut_thrice,
        restart_with_data,
        be_away,
        freeze,
        be_full,
        ValkeyServer.restart_empty,
        ValkeyServer.empty,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_worker_brings_a_job_to_its_end_through(
    stand: Stand, job: Manifest, fault: Callable[[ValkeyServer], None]
) -> None:
    fault(stand.redis)

    assert_whole(stand, job)


def test_a_full_redis_refuses_a_job_with_a_clear_error_and_takes_it_later(
    stand: Stand, tmp_path: Path
) -> None:
    job = stand.submit(tmp_path)
    stand.redis.fill_up()

    refused = run_cli("resume", job.spec.output, env=stand.env)

    stand.redis.make_room()
    assert refused.exit_code == 69, refused
    assert "error [broker_unavailable]" in refused.stderr
    assert "maxmemory" in refused.stderr
    assert_whole(stand, job)
