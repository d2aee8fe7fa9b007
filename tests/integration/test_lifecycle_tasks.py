"""Training and evaluating as tasks of real workers: done once, found again, ended, told apart."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from producer.broker import Broker
from producer.deployment import Deployment
from producer.task_arguments import for_worker
from producer.task_report import TaskReport
from producer.tasks import Tasks
from schemas.errors import ExitCode
from schemas.ledger import Ledger
from schemas.registry import Registry
from schemas.settings import BrokerSettings, ScheduleSettings, StorageSettings, load
from schemas.states import ChunkState
from schemas.storage import Storage
from schemas.task_queue import ONLY, enter, task_ledger
from schemas.task_record import TaskFolder
from support.guard import process_exists
from support.models import tiny_model
from support.processes import CompletedCli, RunningCli, run_cli, start_command
from support.s3 import S3Bucket
from support.sentences import sentences
from support.servers import ValkeyServer
from support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

# Loading torch, on a busy machine.
WAIT_SECONDS = 200.0
TRAIN = ("--model", "tiny-bert", "--batch-size", "8")
FOREVER = 100_000


@dataclass
class Fleet:
    """A broker, a registry, and workers that serve lifecycle tasks."""

    folder: Path
    redis_url: str
    workers: ExitStack
    models: str

    @property
    def env(self) -> dict[str, str]:
        """What commands and workers have in common."""
        return {
            "BULKSCORE_REDIS_URL": self.redis_url,
            "BULKSCORE_MODELS_URI": self.models,
            "BULKSCORE_TASK_DIR": str(self.folder / "tasks"),
            "BULKSCORE_MODEL_CACHE_DIR": str(self.folder / "cache"),
            "BULKSCORE_RECONCILE_SECONDS": "0.2",
            "BULKSCORE_LEASE_SECONDS": "3",
            "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
            "BULKSCORE_TORCH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }

    @property
    def ledger(self) -> Ledger:
        """The ledger of the tasks."""
        return task_ledger(BrokerSettings(redis_url=self.redis_url))

    @property
    def registry(self) -> Registry:
        """Where trained models go."""
        return Registry(Storage(), self.models)

    def start_worker(self, **env: str) -> RunningCli:
        """Start a worker that ends with the test."""
        command = [sys.executable, "-P", "-m", "worker", "--device=cpu", "--queues=lifecycle"]
        return self.workers.enter_context(start_command(command, env={**self.env, **env}))

    def run(self, *arguments: str | Path) -> CompletedCli:
        """Run `bulkscore ARGUMENTS` where the data lie."""
        return run_cli(*arguments, env=self.env, cwd=self.folder, timeout=WAIT_SECONDS)

    @property
    def tasks(self) -> Tasks:
        """What the command line works with."""
        deployment = Deployment(
            broker_settings=BrokerSettings(redis_url=self.redis_url),
            storage_settings=load(StorageSettings),
            schedule=ScheduleSettings(),
        )
        return Tasks(deployment, self.models)

    def train(self, *, epochs: int, checkpoint_seconds: float = 60.0) -> str:
        """Put a training that registers `mood` on the queue and return the id of the task."""
        given = [*TRAIN, "--epochs", str(epochs), "--checkpoint-seconds", str(checkpoint_seconds)]
        data = f"--data={self.folder / 'train.csv'}"
        return self.tasks.submit("train", for_worker([*given, data, "--out=mood"])).task_id

    def wait(self, task_id: str) -> TaskReport:
        """Return how a task ended."""
        *_, last = self.tasks.follow(task_id, keep_queued=True, timeout_seconds=WAIT_SECONDS)
        assert last.ended, last
        return last

    def record(self, task_id: str) -> TaskFolder:
        """Return the record of a task."""
        return TaskFolder(Storage(load(StorageSettings)), f"{self.models}/_tasks/{task_id}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled texts."""
    folder = tmp_path_factory.mktemp("labelled")
    sentences(160, seed=1).write_csv(folder / "train.csv")
    sentences(40, seed=2).write_csv(folder / "test.csv")
    return folder


def fleet_in(folder: Path, data: Path, redis_url: str, workers: ExitStack) -> Fleet:
    for name in ("train.csv", "test.csv"):
        (folder / name).symlink_to(data / name)
    models = str(folder / "models")
    return Fleet(folder=folder, redis_url=redis_url, workers=workers, models=models)


@pytest.fixture
def fleet(tmp_path: Path, data: Path, redis_url: str) -> Iterator[Fleet]:
    """A fleet without workers."""
    with ExitStack() as workers:
        yield fleet_in(tmp_path, data, redis_url, workers)


@pytest.fixture(scope="module")
def served(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of one worker, shared by the tests that harm nothing."""
    folder = tmp_path_factory.mktemp("fleet")
    with ExitStack() as workers, ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        made = fleet_in(folder, data, server.url, workers)
        made.start_worker(
            BULKSCORE_S3_ENDPOINT_URL="http://127.0.0.1:9",  # where nothing answers
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY="secret",
            BULKSCORE_MAX_ATTEMPTS="2",
        )
        yield made


def children_of(task_id: str) -> list[psutil.Process]:
    """Return the processes in which a task works now."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        cwd, command = process.info["cwd"] or "", process.info["cmdline"] or []
        if cwd.endswith(task_id) and any("worker.lifecycle" in word for word in command):
            # What it forks looks like it until it is something else, but leads no session.
            with suppress(ProcessLookupError):
                if os.getsid(process.pid) == process.pid:
                    found.append(process)
    return found


def child_of(task_id: str) -> psutil.Process:
    """Return the process in which a task works, as soon as there is one."""
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = children_of(task_id)
        return len(found) == 1

    wait_for(there, "a process of the task")
    return found[0]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, timeout=WAIT_SECONDS, message=what)


def test_training_evaluating_and_compressing_as_tasks_registers_models_and_tells_their_metrics(
    served: Fleet,
) -> None:
    trained = served.run(
        *("train", *TRAIN, "--data", "train.csv", "--out", "mood", "--epochs", "2"),
        *("--queue", "--wait"),
    )

    assert trained.exit_code == 0, trained
    assert "the worker needs the same disk" in trained.stderr
    (version,) = served.registry.versions("mood")
    task_id = re.findall(r"train-\d{8}-\d{6}-[0-9a-f]{6}", trained.stderr)[0]
    shown = served.run("show", task_id, "--json").json()
    assert (shown["state"], shown["attempts"], shown["exit_code"]) == ("succeeded", 1, 0)
    assert shown["result"]["train_rows"] == 160
    assert f"registered mood@{version.version}" in served.run("show", task_id, "--log").stdout
    assert not (served.folder / "tasks" / task_id).exists()

    (served.folder / "gate.yaml").write_text("accuracy: {min: 0.999999}\n")
    evaluated = served.run(
        *("evaluate", f"mood@{version.version}", "--data", "test.csv", "--queue", "--wait"),
        *("--record", "--json", "--skip", "robustness", "--skip", "efficiency"),
        *("--gate", "gate.yaml", "--report", "report.html"),
    )

    assert evaluated.exit_code == ExitCode.GATE_FAILED, evaluated
    assert "[gate_failed]" in evaluated.stderr
    assert (served.folder / "report.html").read_text().startswith("<!")
    assert evaluated.json()["model"]["ref"] == f"mood@{version.version}"
    compressed = served.run(
        *("compress", f"mood@{version.version}", "--data", "test.csv", "--method", "bf16"),
        *("--max-drop", "1", "--out", "mood", "--queue", "--wait", "--json"),
    )

    assert compressed.exit_code == 0, compressed
    smaller = served.registry.resolve(compressed.json()["out"])
    assert smaller.parent is not None
    assert smaller.parent.ref == version.ref
    listed = served.run("jobs", "--json").json()
    assert [task["state"] for task in listed] == ["succeeded", "dead", "succeeded"]
    assert task_id in served.run("jobs").stdout


def test_bad_input_is_buried_at_once_with_its_code_and_message(served: Fleet) -> None:
    left = served.folder / "tasks" / "train-20250601-201500-00000a"
    left.mkdir(parents=True)
    enter(served.ledger, left.name, served.record(left.name).uri)
    served.ledger.cancel(left.name)

    done = served.run(
        "train", *TRAIN, "--data", "none.csv", "--out", "nothing", "--queue", "--wait"
    )

    assert done.exit_code == ExitCode.USAGE, done
    assert "[input_missing]" in done.stderr
    assert f"{served.folder}/none.csv" in done.stderr
    task_id = re.findall(r"train-\d{8}-\d{6}-[0-9a-f]{6}", done.stderr)[0]
    report = served.tasks.report(task_id)
    assert (report.state, report.attempts) == (ChunkState.DEAD, 1)
    assert [attempt.code for attempt in report.failed] == ["input_missing"]
    assert not left.exists()  # of a task that ended elsewhere


@pytest.mark.slow
def test_a_task_whose_data_cannot_be_reached_is_tried_again_and_its_attempts_are_counted(
    served: Fleet,
) -> None:
    task_id = served.tasks.submit(
        "compress",
        for_worker(
            [
                *("--method=distil", "--data=s3://none/test.csv", "--train-data=s3://none/a.csv"),
                *("--out=small", "--", str(tiny_model(served.folder / "parent"))),
            ]
        ),
    ).task_id

    report = served.wait(task_id)

    assert (report.state, report.attempts) == (ChunkState.DEAD, 2)
    assert [a.code for a in report.failed] == ["storage_unavailable"] * 2
    assert [a.number for a in report.failed] == [1, 2]
    assert report.exit_code == ExitCode.UNAVAILABLE
    assert served.run("dead-letters", task_id, "--json").json()["outcome"]["attempt"] == 2
    again = served.run("reprocess", task_id)
    assert served.run("reprocess", again.stdout.strip()).exit_code == ExitCode.USAGE  # not ended
    served.tasks.cancel(again.stdout.strip())
    assert served.tasks.report(again.stdout.strip()).arguments == report.arguments
    checks = {f["check"]: f["verdict"] for f in served.run("doctor", "--json").json()["findings"]}
    assert (checks["lifecycle workers"], checks["model registry"]) == ("ok", "ok")
    assert not served.registry.versions("small")


def test_a_cancelled_task_ends_its_process_and_leaves_nothing(served: Fleet) -> None:
    task_id = served.train(epochs=FOREVER)
    wait_for(lambda: "step" in served.tasks.report(task_id).progress, "progress")
    process = child_of(task_id)

    done = served.run("cancel", task_id)

    assert done.exit_code == 0, done
    wait_for(lambda: not process_exists(process.pid), "the end of the training")
    wait_for(lambda: served.ledger.status(task_id).ended, "the end of the task")
    assert served.run("wait", task_id).exit_code == ExitCode.DEAD_CHUNKS
    again = served.run("reprocess", task_id).stdout.strip()
    served.tasks.cancel(again)
    assert served.tasks.report(again).reprocess_of == task_id
    assert not (served.folder / "tasks" / task_id).exists()


def test_a_task_whose_worker_stops_or_is_killed_is_taken_again_and_goes_on(fleet: Fleet) -> None:
    worker = fleet.start_worker()
    task_id = fleet.train(epochs=12, checkpoint_seconds=0.2)
    checkpoints = fleet.folder / "tasks" / task_id / "mood.training" / "checkpoints"
    wait_for(lambda: any(checkpoints.glob("*/trainer_state.json")), "a checkpoint")
    process = child_of(task_id)

    assert worker.terminate() == 0
    assert not process_exists(process.pid)
    assert fleet.tasks.report(task_id).state is ChunkState.QUEUED
    worker = fleet.start_worker()
    process = child_of(task_id)

    worker.kill()
    wait_for(lambda: not process_exists(process.pid), "the end of what the dead worker started")
    fleet.start_worker()
    report = fleet.wait(task_id)

    assert (report.state, report.exit_code) == (ChunkState.SUCCEEDED, 0), report
    assert report.attempts == 2  # a worker that stops in order hands the task back uncharged
    assert len(fleet.registry.versions("mood")) == 1
    assert "goes on from checkpoint-" in fleet.tasks.log(task_id)


@pytest.mark.slow
def test_a_task_that_redis_has_lost_is_found_on_the_object_store(
    fleet: Fleet, valkey: ValkeyServer, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    fleet.models = s3_bucket.key_uri("models")
    task_id = fleet.tasks.submit("evaluate", for_worker(["--data=none", "--", "/none"])).task_id
    valkey.empty()

    fleet.start_worker()
    wait_for(lambda: fleet.record(task_id).outcome() is not None, "the outcome")

    assert fleet.tasks.report(task_id).state is ChunkState.DEAD


@pytest.mark.slow
def test_a_task_ends_once_when_redis_is_away_for_longer_than_its_lease(
    tmp_path: Path, data: Path, start_valkey: Callable[..., ValkeyServer]
) -> None:
    server = start_valkey(append_only=True)
    with ExitStack() as workers:
        fleet = fleet_in(tmp_path, data, server.url, workers)
        worker = fleet.start_worker()
        task_id = fleet.train(epochs=30, checkpoint_seconds=0.2)
        checkpoints = fleet.folder / "tasks" / task_id / "mood.training" / "checkpoints"
        wait_for(lambda: any(checkpoints.glob("*/trainer_state.json")), "a checkpoint")
        time.sleep(1.5)  # the file is synced each second

        server.kill()
        assert children_of(task_id)
        time.sleep(20)
        server.start()
        report = fleet.wait(task_id)

        assert (report.state, report.exit_code) == (ChunkState.SUCCEEDED, 0), report
        assert report.attempts <= 2
        assert len(fleet.registry.versions("mood")) == 1
        wait_for(lambda: fleet.ledger.status(task_id).ended, "the end in the ledger")
        assert not children_of(task_id)
        assert worker.poll() is None


@pytest.mark.slow
def test_two_workers_never_run_one_task_at_the_same_time(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.start_worker(BULKSCORE_VISIBILITY_SECONDS="2", BULKSCORE_LEASE_SECONDS="30")
    task_id = fleet.train(epochs=4)
    broker = Broker(fleet.redis_url)
    most = 0

    def ended() -> bool:
        nonlocal most
        broker.publish_task(task_id)  # as if it were delivered again and again
        most = max(most, len(children_of(task_id)))
        time.sleep(0.3)
        return fleet.record(task_id).outcome() is not None

    wait_for(ended, "the outcome")

    assert most == 1
    report = fleet.tasks.report(task_id)
    assert (report.state, report.attempts) == (ChunkState.SUCCEEDED, 1)


def test_a_frozen_worker_that_lost_its_lease_does_not_work_beside_the_next(fleet: Fleet) -> None:
    frozen = fleet.start_worker()
    task_id = fleet.train(epochs=FOREVER)
    training = child_of(task_id).pid
    stopped = [pid for pid in frozen.processes() if pid != training]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)

    second = fleet.start_worker()
    wait_for(lambda: "lease_lost" in second.stderr, "the second attempt")

    assert len(children_of(task_id)) == 1
    assert fleet.ledger.state_of(task_id, ONLY) in (ChunkState.QUEUED, ChunkState.RUNNING)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    fleet.tasks.cancel(task_id)
    wait_for(lambda: not children_of(task_id), "the end of the training")


def test_a_task_that_ends_its_process_each_time_is_buried_after_the_last_attempt(
    fleet: Fleet,
) -> None:
    fleet.start_worker(BULKSCORE_MAX_ATTEMPTS="2")
    task_id = fleet.train(epochs=FOREVER)
    killed: set[int] = set()

    def buried() -> bool:
        for process in children_of(task_id):
            if process.pid not in killed and "python" in process.name():
                killed.add(process.pid)
                process.kill()
        return fleet.record(task_id).outcome() is not None

    wait_for(buried, "the outcome")

    outcome = fleet.record(task_id).outcome()
    assert outcome is not None
    assert (outcome.state, outcome.code, len(outcome.attempts)) == ("dead", "process_killed", 2)
    assert fleet.tasks.report(task_id).exit_code == ExitCode.DEAD_CHUNKS
