"""A fleet is upgraded while jobs run: old and new workers share the queues, and nothing is lost.

The later release is this one with a plug (`support/version_plug`) that makes its messages and
manifests of version 2, which an old worker refuses.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from schemas import layout
from schemas.errors import VersionUnknown
from schemas.ledger import Ledger
from schemas.results import read_account
from schemas.settings import BrokerSettings, ScheduleSettings
from schemas.states import ChunkState
from schemas.storage import Storage
from schemas.task_queue import ONLY, enter, task_ledger
from schemas.task_record import TaskFolder
from support.corpora import make_table, write_table
from support.job_bench import JobBench
from support.processes import RunningCli, run_cli, start_command
from support.texts import distinct_texts
from support.waiting import wait_until
from worker.lifecycle.running import TaskRunner
from worker.versions import DROP_SECONDS, LeftToOthers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WAIT_SECONDS = 120.0
PLUG = Path(__file__).parents[1] / "support" / "version_plug"
PATHS = [str(PLUG), *filter(None, [os.environ.get("PYTHONPATH")])]
LATER = {"PYTHONPATH": os.pathsep.join(PATHS), "VERSION_PLUG": "on"}
CHUNKS = 30
ROWS_A_CHUNK = 20
TASK = "train-20250601-201500-00000a"


@contextmanager
def held(workers: Sequence[RunningCli]) -> Iterator[None]:
    """Stop all processes of workers in their tracks for the time of the block."""
    pids = [pid for worker in workers for pid in worker.processes()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def scored_by(output: Path) -> dict[int, tuple[str, int]]:
    """Return worker and attempt of each result that is there, by chunk."""
    found = {}
    for path in output.glob("part-*.parquet"):
        account = read_account(Storage(), str(path))
        found[account.chunk] = (account.worker.rpartition("-")[0], account.attempt)
    return found


@pytest.mark.slow
def test_workers_are_replaced_under_running_jobs_and_nothing_is_lost_or_charged(
    tmp_path: Path, bench_model: Path, redis_url: str, ledger: Ledger
) -> None:
    env = {
        "BULKSCORE_REDIS_URL": redis_url,
        "BULKSCORE_RECONCILE_SECONDS": "0.2",
        "BULKSCORE_LEASE_SECONDS": "120",
        "BULKSCORE_TORCH_THREADS": "1",
        "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "model-cache"),
    }
    table = make_table(distinct_texts(CHUNKS * ROWS_A_CHUNK))
    write_table(tmp_path / "corpus.parquet", table, row_group_rows=ROWS_A_CHUNK)

    def submit(name: str, *options: str, later: bool = False) -> Path:
        done = run_cli(
            *("submit", "--job-id", name, "--input", tmp_path / "corpus.parquet"),
            *("--model", bench_model, "--text-column", "text", "--output", tmp_path / name),
            *("--token-budget", "1", *options),
            env={**env, **(LATER if later else {})},
        )
        assert done.exit_code == 0, done
        return tmp_path / name

    with ExitStack() as workers:

        def start(name: str, *, later: bool = False) -> RunningCli:
            command = [sys.executable, "-P", "-m", "worker", "--device", "cpu", "--name", name]
            here = {**env, **(LATER if later else {})}
            return workers.enter_context(start_command(command, env=here))

        old = [start("old-0"), start("old-1")]
        running = submit("running", "--chunk-rows", str(ROWS_A_CHUNK))
        wait_until(lambda: len(scored_by(running)) >= 2, WAIT_SECONDS, message="first chunks")
        with held(old):
            # More urgent, so that the old workers meet it at once.
            later = submit("later", "--chunk-rows", "200", "--priority", "high", later=True)
        said = "left to others: a message of a later version than 1"
        wait_until(
            lambda: all(said in worker.stderr for worker in old),
            WAIT_SECONDS,
            message=lambda: f"{said} of {old[0]} {old[1]}",
        )
        assert not scored_by(later)

        new = start("new", later=True)
        wait_until(lambda: scored_by(later), WAIT_SECONDS, message=lambda: str(new))
        assert old[0].terminate() == 0
        assert old[1].terminate() == 0
        # Old reconcilers leave a later job alone: it ends once a new one is elected.
        wait_until(
            lambda: ledger.status("running").ended and ledger.status("later").ended,
            WAIT_SECONDS,
            message=lambda: f"the end of both\n{new}",
        )

    assert {worker for worker, _ in scored_by(later).values()} == {"new"}
    who = {worker for worker, _ in scored_by(running).values()}
    assert "new" in who
    assert who & {"old-0", "old-1"}
    for output in (running, later):
        assert {attempt for _, attempt in scored_by(output).values()} == {1}
        verified = run_cli("verify", output, env={**env, **LATER})
        assert verified.exit_code == 0, verified


def test_a_chunk_of_a_later_manifest_is_handed_back_uncharged_and_the_job_goes_on(
    job_bench: JobBench, caplog: pytest.LogCaptureFixture
) -> None:
    job_bench.submit()
    manifest = Path(layout.manifest(str(job_bench.output)))
    ours = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(ours), "version": 2, "hint": "new"}))

    assert job_bench.worker.work() == ["handed_back"] * 4
    assert "later release" in caplog.text

    job_bench.cli("reconcile")
    assert not job_bench.status().ended
    assert job_bench.status().chunks[ChunkState.QUEUED] == 4
    refused = job_bench.cli("verify", str(job_bench.output))
    assert refused.exit_code == 2, refused
    assert "upgrade" in refused.stderr, refused

    manifest.write_text(ours)

    def finished() -> bool:
        job_bench.cli("reconcile")
        job_bench.worker.work()
        return job_bench.status().ended

    wait_until(finished, WAIT_SECONDS)
    assert {attempt for _, attempt in scored_by(job_bench.output).values()} == {1}


def test_a_message_that_nobody_takes_is_dropped_after_a_while() -> None:
    now, waits = [0.0], list[float]()
    goes_back = LeftToOthers(clock=lambda: now[0], sleep=waits.append)
    error = VersionUnknown("a message of a later version")

    assert goes_back("message", error)
    now[0] = DROP_SECONDS - 1
    assert goes_back("message", error)
    now[0] = DROP_SECONDS
    assert not goes_back("message", error)
    assert goes_back("message", error)

    assert waits == [1.0] * 3


def test_a_lifecycle_task_of_a_later_release_is_left_to_later_workers_uncharged(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, uri = task_ledger(BrokerSettings(redis_url=redis_url)), f"{tmp_path}/_tasks/{TASK}"
    record = {"version": 2, "task_id": TASK, "kind": "train", "arguments": [], "hint": "new"}
    Storage().create(f"{uri}/task.json", json.dumps(record).encode())
    enter(ledger, TASK, uri)
    runner = TaskRunner(
        ledger=ledger,
        storage=Storage(),
        schedule=ScheduleSettings(max_attempts=1),
        folder=tmp_path / "work",
        time_limit_seconds=60,
        worker="old",
        draining=lambda: False,
    )

    for _ in range(2):  # one attempt is all there is
        assert runner.run(TASK) == "handed_back"

    assert "later release" in caplog.text
    assert ledger.state_of(TASK, ONLY) is ChunkState.QUEUED
    assert ledger.history(TASK, ONLY) == ()
    assert TaskFolder(Storage(), uri).outcome() is None
