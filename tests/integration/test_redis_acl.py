"""Each user of `k8s/base/redis/users.acl` can do its work, whole jobs long, and nothing else."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from producer.cli.app import run
from producer.deployment import Deployment
from producer.task_arguments import for_worker
from producer.tasks import Tasks
from schemas.errors import ExitCode
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings, load
from support.corpora import write_corpus
from support.daemon import free_port
from support.models import tiny_model
from support.processes import RunningCli, start_cli, start_command
from support.secured_redis import DEPLOYED, SecuredRedis
from support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

START_SECONDS = 90.0
JOB_SECONDS = 120.0
QUICK = {
    "BULKSCORE_RECONCILE_SECONDS": "0.2",
    "BULKSCORE_LEASE_SECONDS": "2",
    "BULKSCORE_VISIBILITY_SECONDS": "2",
    "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
    "BULKSCORE_TORCH_THREADS": "1",
}
Command = Callable[..., int]
# What KEDA's scaler for lists runs.
KEDA_SCRIPT = """
local listName = KEYS[1]
local listType = redis.call('type',listName).ok
local cmd = {zset = 'zcard', set = 'scard', list = 'llen', hash = 'hlen', none = 'llen'}
return redis.call(cmd[listType],listName)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredRedis]:
    with SecuredRedis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def producer(server: SecuredRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command as the producer and returns its exit code."""
    settings = {**server.env("producer"), **QUICK, "BULKSCORE_MODELS_URI": str(tmp_path / "models")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["bulkscore", *map(str, arguments)])
        return run()

    return command


def worker(server: SecuredRedis, folder: Path) -> AbstractContextManager[RunningCli]:
    env = {
        **server.env("worker"),
        **QUICK,
        "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
        "BULKSCORE_TASK_DIR": str(folder / "tasks"),
        "BULKSCORE_MODELS_URI": str(folder / "models"),
    }
    queues = "--queues=high,normal,low,lifecycle"
    return start_command([sys.executable, "-P", "-m", "worker", "--device=cpu", queues], env=env)


def kill(running: RunningCli) -> None:
    for pid in running.processes():
        os.kill(pid, signal.SIGKILL)


@contextmanager
def dashboard(server: SecuredRedis) -> Iterator[Callable[..., Any]]:
    """Run Flower as it is deployed, and ask its API."""
    port = free_port()
    env = {**server.env("flower"), "BULKSCORE_FLOWER_PASSWORD": "looker"}
    with start_cli("flower", "--port", str(port), "--read-only", env=env) as running:

        def ask(path: str, method: str = "GET") -> Any:
            login = base64.b64encode(b"bulkscore:looker").decode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method)
            request.add_header("Authorization", f"Basic {login}")
            with urllib.request.urlopen(request, timeout=10) as reply:
                return json.load(reply)

        def answers() -> bool:
            assert running.poll() is None, running
            return bool(ask("api/queues/length"))

        wait_until(answers, START_SECONDS, interval=0.1, ignore=(urllib.error.URLError,))
        yield ask


def test_whole_jobs_go_through_with_these_rights_and_nothing_is_denied(
    server: SecuredRedis, producer: Command, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "model")
    for name in ("a", "b"):
        write_corpus(tmp_path / f"{name}.parquet", 40)
    scoring = ("--model", tmp_path / "model", "--text-column", "text", "--chunk-rows", "20")
    inputs = ("--input", tmp_path / "a.parquet", "--input", tmp_path / "b.parquet")
    output = tmp_path / "scored"
    settings = load(BrokerSettings)
    ledger = Ledger(settings)
    tasks = Tasks(Deployment.from_environment(), str(tmp_path / "models"))

    assert producer("submit", *inputs, *scoring, "--output", output, "--job-id", "nightly") == 0
    hidden = (tmp_path / "b.parquet").rename(tmp_path / "away")
    with server.client() as admin, dashboard(server) as flower:
        with worker(server, tmp_path) as first:
            wait_until(lambda: bool(admin.hlen("unacked")), START_SECONDS, interval=0.01)
            kill(first)
        # The message that died with the worker is handed out again, the chunk scored.
        assert admin.hlen("unacked")
        task = tasks.submit("evaluate", for_worker(["--data=none", "--", "/none"])).task_id
        with worker(server, tmp_path):
            assert producer("wait", "nightly", "--timeout", "100") == 3  # a file is gone
            hidden.rename(tmp_path / "b.parquet")
            assert producer("reprocess", "nightly") == 0
            assert producer("wait", "nightly", "--timeout", "100") == 0
            *_, ended = tasks.follow(task, keep_queued=True, timeout_seconds=JOB_SECONDS)
            assert ended.ended
            wait_until(lambda: not admin.hlen("unacked"), START_SECONDS)
            assert flower("api/workers?refresh=1")
            assert any(t["state"] == "SUCCESS" for t in flower("api/tasks").values())
            with pytest.raises(urllib.error.HTTPError, match="403"):
                flower("api/worker/shutdown/any", "POST")
    assert producer("verify", output) == 0
    other = ("--output", tmp_path / "other", "--job-id", "other")
    assert producer("submit", *inputs, *scoring, *other) == 0
    with server.client("keda") as keda:
        assert keda.eval(KEDA_SCRIPT, 1, "bulkscore.normal") == 4
        assert keda.eval(KEDA_SCRIPT, 1, "unacked") == 0
    assert producer("cancel", "other") == 0
    assert producer("jobs") == 0
    ledger.forget("other")

    assert server.denied() == []


def test_who_may_not_says_so(
    server: SecuredRedis, producer: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Flower's user is not the producer's, nor the worker's.
    for name, value in server.env("flower").items():
        os.environ[name] = value
    assert producer("jobs") == ExitCode.UNAVAILABLE
    told = capsys.readouterr().err
    assert "error [broker_refused]" in told
    assert "gives this user too few rights (ACL)" in told
    with start_command(
        [sys.executable, "-P", "-m", "worker", "--device=cpu"], env=server.env("flower")
    ) as refused:
        assert refused.wait(START_SECONDS) == ExitCode.UNAVAILABLE, refused
        assert "error [broker_refused]" in refused.stderr, refused
    server.denied()


NOBODY = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET save",
    "CONFIG SET dir /tmp",
    "KEYS *",
    "ACL LIST",
    "SHUTDOWN",
    "SCRIPT FLUSH",
    "MODULE LIST",
    "MONITOR",
    "SAVE",
    "REPLICAOF NO ONE",
    "CLIENT KILL TYPE normal",
    "MIGRATE h 1 k 0 1",
    "GET of-others",
)
DENIED = {
    # Puts messages on, never takes them off; no control of workers.
    "producer": (
        "RPOP bulkscore.normal",
        "BRPOP bulkscore.normal 1",
        "LRANGE bulkscore.normal 0 1",
        "HGETALL unacked",
        "HDEL unacked tag",
        "PUBLISH /0.celery.pidbox shutdown",
        "SUBSCRIBE /0.celeryev/worker.heartbeat",
        "SCAN 0",
    ),
    "worker": (),
    "flower": (
        "HGETALL bulkscore:job:nightly",
        "ZRANGE bulkscore:jobs 0 -1",
        "DEL bulkscore:job:nightly",
        "HGETALL unacked",
        "LRANGE bulkscore.normal 0 1",
        "RPOP bulkscore.normal",
        "LPUSH bulkscore.normal message",
    ),
    "keda": (
        "LRANGE bulkscore.normal 0 1",
        "LINDEX bulkscore.normal 0",
        "HGETALL unacked",
        "RPOP bulkscore.normal",
        "DEL bulkscore.normal",
        "LLEN bulkscore:job:nightly",
        "PUBLISH /0.celery.pidbox shutdown",
    ),
    "probe": ("LLEN bulkscore.normal", "INFO"),
}


@pytest.mark.parametrize("user", DENIED)
def test_all_else_is_denied(server: SecuredRedis, user: str) -> None:
    allowed = []
    with server.client(user) as client:
        for command in (*NOBODY, *DENIED[user]):
            try:
                client.execute_command(*command.split(" "))
                allowed.append(command)
            except redis.exceptions.NoPermissionError:
                continue
        assert allowed == []
        script = "return redis.call('hgetall', 'bulkscore:job:nightly')"
        if user in ("flower", "keda"):
            with pytest.raises(redis.exceptions.ResponseError, match="executing the script can't"):
                client.eval(script, 0)
    server.denied()


def test_without_a_login_nothing_is_let_in(server: SecuredRedis) -> None:
    url = server.url("worker").replace(f"worker:{server.passwords['worker']}@", "")
    client = redis.Redis.from_url(url, ssl_ca_certs=str(server.authority.file))
    with client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()
    server.denied()


def test_a_password_that_is_missing_leaves_no_file_of_users(tmp_path: Path) -> None:
    (tmp_path / "producer-password").write_text("one\n")
    filling = ["sh", f"{DEPLOYED}/fill-users.sh", f"{DEPLOYED}/users.acl", str(tmp_path)]
    done = subprocess.run(filling, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert "worker-password, the password of the Redis user worker, is missing" in done.stderr
