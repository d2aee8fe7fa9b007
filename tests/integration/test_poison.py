"""A real worker and texts that end its child, or that its model refuses: every row is accounted."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from producer.broker import Broker
from producer.manifest import create_job
from schemas import layout
from schemas.job import JobSpec, Manifest
from schemas.ledger import Ledger
from schemas.model_files import pin_model
from schemas.reconciler import Reconciler
from schemas.resume import resume
from schemas.settings import ScheduleSettings
from schemas.states import JobState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.poison import Effect, poison_env
from support.processes import RunningCli, run_cli, start_command
from support.texts import ordinary_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

JOB = "poisoned"
ROWS = 100
JOB_SECONDS = 240.0
# Words that are tokens of the model and not in the ordinary texts.
WORDS: dict[Effect, str] = {
    "killed": "pointless",
    "refused": "delightful",
    "full": "empathy",
    "broken": "style",
}

StartWorker = Callable[..., RunningCli]
Submit = Callable[[Mapping[int, str]], Manifest]


@pytest.fixture
def start_worker(redis_url: str, bench_model: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers in which the words have their effects."""
    env = {
        "BULKSCORE_REDIS_URL": redis_url,
        "BULKSCORE_RECONCILE_SECONDS": "0.2",
        "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
        "BULKSCORE_LEASE_SECONDS": "5",
        "BULKSCORE_MAX_ATTEMPTS": "1",
        "BULKSCORE_TORCH_THREADS": "1",
        "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "model-cache"),
        **poison_env(bench_model, WORDS),
    }
    command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
    with ExitStack() as workers:
        yield lambda: workers.enter_context(start_command(command, env=env))


@pytest.fixture
def submit(
    bench_model: Path, tmp_path: Path, storage: Storage, ledger: Ledger, redis_url: str
) -> Submit:
    """Submit a job of one chunk of ordinary texts, some of which have a word added."""

    def submit(words: Mapping[int, str]) -> Manifest:
        texts = ordinary_texts(ROWS, longest=8)
        for row, word in words.items():
            texts[row] += f" {word}"
        write_table(tmp_path / "corpus.parquet", make_table(texts), row_group_rows=60)
        spec = JobSpec(
            inputs=(str(tmp_path / "corpus.parquet"),),
            output=str(tmp_path / "scored"),
            model=str(bench_model),
            text_column="text",
            chunk_rows=ROWS,
        )
        manifest = create_job(storage, spec, pin_model(storage, spec.model), job_id=JOB)
        resume(storage, ledger, manifest)
        Reconciler(ledger, storage, Broker(redis_url).publish, ScheduleSettings()).run_once()
        return manifest

    return submit


def wait_for_end(ledger: Ledger, worker: RunningCli) -> None:
    wait_until(lambda: ledger.status(JOB).ended, JOB_SECONDS, message=lambda: str(worker))


def rows_of(manifest: Manifest) -> pa.Table:
    assert manifest.chunks == 1
    return pq.read_table(layout.result(manifest.spec.output, 0))


def errors_of(rows: pa.Table) -> dict[int, str]:
    return {row: error for row, error in enumerate(rows["error"].to_pylist()) if error}


def test_a_text_that_ends_its_process_is_found_and_all_others_of_its_chunk_are_scored(
    start_worker: StartWorker, submit: Submit, ledger: Ledger, server: redis.Redis
) -> None:
    manifest = submit({70: WORDS["killed"]})

    worker = start_worker()
    wait_for_end(ledger, worker)

    status = ledger.status(JOB)
    assert (status.state, status.rows_scored) == (JobState.SUCCEEDED, ROWS - 1)
    assert status.row_errors == {"killed_worker": 1}
    rows = rows_of(manifest)
    assert rows["source_row"].to_pylist() == list(range(ROWS))
    assert errors_of(rows) == {70: "killed_worker"}
    assert server.exists(f"bulkscore:trails:{JOB}", f"bulkscore:attempts:{JOB}") == 0
    assert worker.poll() is None
    verified = run_cli("verify", manifest.spec.output)
    assert verified.exit_code == 0, verified
    assert WORDS["killed"] not in worker.stderr


def test_texts_that_the_model_refuses_or_that_do_not_fit_end_no_process_and_lose_no_neighbour(
    start_worker: StartWorker, submit: Submit, ledger: Ledger
) -> None:
    manifest = submit({3: WORDS["refused"], 4: WORDS["full"], 99: WORDS["refused"]})

    worker = start_worker()
    wait_for_end(ledger, worker)

    assert ledger.status(JOB).state is JobState.SUCCEEDED
    rows = rows_of(manifest)
    assert rows["source_row"].to_pylist() == list(range(ROWS))
    assert errors_of(rows) == {3: "scoring_failed", 4: "out_of_memory", 99: "scoring_failed"}
    assert "rows were not scored [scoring_failed]: 3, 99" in worker.stderr
    verified = run_cli("verify", manifest.spec.output)
    assert verified.exit_code == 0, verified


@pytest.mark.slow
def test_a_text_that_breaks_the_device_has_its_process_replaced_and_is_found(
    start_worker: StartWorker, submit: Submit, ledger: Ledger
) -> None:
    manifest = submit({0: WORDS["broken"]})

    worker = start_worker()
    wait_for_end(ledger, worker)

    assert ledger.status(JOB).state is JobState.SUCCEEDED
    assert errors_of(rows_of(manifest)) == {0: "killed_worker"}
    assert worker.stderr.count("[device_failed]") == 4, worker
