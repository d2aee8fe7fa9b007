"""The probes of a real worker and of `reconcile --forever`, and what fails them: never Redis."""

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from producer.manifest import create_job
from schemas.job import JobSpec
from schemas.ledger import Ledger
from schemas.model_files import pin_model
from schemas.resume import resume
from schemas.settings import BrokerSettings
from schemas.states import ChunkState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.daemon import free_port
from support.processes import RunningCli, start_cli, start_command
from support.servers import ValkeyServer
from support.texts import distinct_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

START_SECONDS = 90.0


class Answers:
    """What answers at a port of this machine."""

    def __init__(self) -> None:
        self.port = free_port()

    def __call__(self, path: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_for(self, path: str, status: int, process: RunningCli) -> str:
        wait_until(
            lambda: self(path)[0] == status,
            START_SECONDS,
            message=lambda: f"{status} of {path}, which is {self(path)}\n{process}",
        )
        return self(path)[1]

    def value(self, sample: str) -> float | None:
        """Return the value of a sample, given as it is written with its labels."""
        lines = [line for line in self("/metrics")[1].splitlines() if line.startswith(f"{sample} ")]
        return float(lines[0].rpartition(" ")[2]) if lines else None


def worker_command() -> list[str]:
    return [sys.executable, "-P", "-m", "worker", "--device", "cpu"]


@pytest.fixture
def broker(start_valkey) -> ValkeyServer:
    server: ValkeyServer = start_valkey()
    return server


@pytest.fixture
def env(broker: ValkeyServer, tmp_path: Path) -> dict[str, str]:
    return {
        "BULKSCORE_REDIS_URL": broker.url,
        "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "cache"),
        "BULKSCORE_RECONCILE_SECONDS": "0.2",
        "BULKSCORE_TORCH_THREADS": "1",
        "BULKSCORE_RUN_DIR": str(tmp_path / "run"),
        "BULKSCORE_STALL_SECONDS": "4",
    }


@pytest.fixture
def answers(env: dict[str, str]) -> Answers:
    at = Answers()
    env["BULKSCORE_HTTP_PORT"] = str(at.port)
    return at


@pytest.fixture
def worker(env: dict[str, str], answers: Answers) -> Iterator[RunningCli]:
    with start_command(worker_command(), env=env) as running:
        answers.wait_for("/readyz", 200, running)
        yield running


def submit(broker: ValkeyServer, model: Path, folder: Path, *, rows: int) -> Ledger:
    storage, ledger = Storage(), Ledger(BrokerSettings(redis_url=broker.url))
    write_table(folder / "corpus.parquet", make_table(distinct_texts(rows)), row_group_rows=rows)
    spec = JobSpec(
        inputs=(str(folder / "corpus.parquet"),),
        output=str(folder / "scored"),
        model=str(model),
        text_column="text",
        chunk_rows=rows,
        token_budget=1,
    )
    manifest = create_job(storage, spec, pin_model(storage, spec.model), job_id="long")
    resume(storage, ledger, manifest)
    return ledger


def test_a_hung_child_fails_liveness_a_lost_redis_does_not_and_a_stop_ends_readiness(
    worker: RunningCli, answers: Answers, broker: ValkeyServer, bench_model: Path, tmp_path: Path
) -> None:
    assert [answers(path)[0] for path in ("/startupz", "/livez", "/nowhere")] == [200, 200, 404]
    ledger = submit(broker, bench_model, tmp_path, rows=20_000)
    running = ChunkState.RUNNING
    wait_until(lambda: ledger.state_of("long", 0) is running, START_SECONDS)
    wait_until(lambda: (tmp_path / "run" / "busy").exists(), START_SECONDS)
    (child,) = [
        c for c in psutil.Process(worker.pid).children() if "spawn_main" in " ".join(c.cmdline())
    ]

    child.suspend()
    told = answers.wait_for("/livez", 503, worker)
    child.resume()
    answers.wait_for("/livez", 200, worker)
    assert "the chunk has not advanced for" in told
    child.kill()  # its successor is not busy with what it left
    wait_until(lambda: answers("/livez")[0] == 200, START_SECONDS)

    broker.kill()
    wait_until(lambda: (tmp_path / "run" / "offline").exists(), START_SECONDS)
    hub = tmp_path / "run" / "hub"
    os.utime(hub, (0, 0))  # as after a long wait
    assert [answers(path)[0] for path in ("/livez", "/readyz", "/startupz")] == [200] * 3

    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: answers("/readyz")[0] != 200, START_SECONDS)


def test_without_redis_a_worker_comes_up_alive_and_not_ready(
    env: dict[str, str], answers: Answers, broker: ValkeyServer
) -> None:
    broker.kill()
    with start_command(worker_command(), env=env) as worker:
        answers.wait_for("/startupz", 200, worker)

        assert answers("/livez") == (200, "ok\n")
        assert answers("/readyz") == (503, "takes no chunks yet\n")


def test_a_port_that_is_taken_and_a_folder_in_use_are_told_and_end_the_worker(
    env: dict[str, str], answers: Answers, worker: RunningCli, tmp_path: Path
) -> None:
    with start_command(worker_command(), env=env) as second:
        assert second.wait(START_SECONDS) == 78
    with start_command(
        worker_command(), env={**env, "BULKSCORE_RUN_DIR": str(tmp_path / "other")}
    ) as third:
        assert third.wait(START_SECONDS) == 78

    assert "each its own BULKSCORE_RUN_DIR" in second.stderr
    assert "BULKSCORE_HTTP_PORT" in third.stderr


def test_reconcile_forever_feeds_the_queue_tells_its_depth_and_leaves_at_sigterm(
    env: dict[str, str],
    answers: Answers,
    broker: ValkeyServer,
    bench_model: Path,
    tmp_path: Path,
) -> None:
    with start_cli("reconcile", "--forever", "--every", "0.2", env=env) as reconciler:
        answers.wait_for("/readyz", 200, reconciler)
        submit(broker, bench_model, tmp_path, rows=20)
        wait_until(
            lambda: (
                answers.value('bulkscore_queue_depth{queue="bulkscore.normal"}') == 1
                and answers.value("bulkscore_chunks_pending") == 1
            ),
            START_SECONDS,
            message=lambda: f"{answers('/metrics')}\n{reconciler}",
        )

        broker.kill()
        wait_until(lambda: answers.value("bulkscore_redis_up") == 0, START_SECONDS)
        assert answers("/livez")[0] == 200
        assert answers.value('bulkscore_queue_depth{queue="bulkscore.normal"}') is None
        assert reconciler.terminate(timeout=30) == 0
