"""Every command of the operations page is run as it is printed, against a live stack."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from producer.cli.app import run
from producer.sample import damage_text_page
from schemas.errors import ExitCode
from schemas.registry import Registry
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.data import REPOSITORY
from support.models import tiny_model
from support.processes import RunningCli, start_command
from support.secured_redis import ADMIN, SecuredRedis
from support.texts import ordinary_texts
from worker.lifecycle.register import register

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

START_SECONDS = 90.0
PAGE = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
# Tried by tests of their own: what does not come to an end, and what loads a model in a process.
ELSEWHERE = ("bulkscore flower", "bulkscore replay JOB --chunk 42")
COMMAND = re.compile(r"^(bulkscore [^`\n]+)$|`((?:bulkscore|redis-cli) [^`\n]+)`", re.MULTILINE)
PRINTED = [a or b for a, b in COMMAND.findall(PAGE)]
LINES = [line for line in dict.fromkeys(PRINTED) if line not in ELSEWHERE]
SUBMIT = "bulkscore submit -i s3://lake/reviews/ -m sentiment@production --text-column text"
# What tells of a dead chunk says so by its exit code as well.
FINE = (ExitCode.OK, ExitCode.DEAD_CHUNKS)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A secured Redis, a worker, two versions of a model, a job that is well, one that is not.

    `env` is that of whoever gives commands.
    """

    redis: SecuredRedis
    worker: RunningCli
    lake: Path
    env: dict[str, str]

    def filled(self, line: str) -> list[str]:
        """Return the words of a command with what stands here for the names on the page."""
        here = {
            "s3://lake": str(self.lake),
            "OUTPUT": f"{self.lake}/scored/hurt",
            "EARLIER": f"{self.lake}/scored/may",
            "JOB": "hurt",
            "42": "1",
        }
        return shlex.split(re.sub("|".join(here), lambda found: here[found[0]], line))

    def cli(self, line: str) -> int:
        """Run a command of ours as the producer, in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", self.filled(line))
            return run()

    def redis_cli(self, line: str) -> int:
        """Run a command of `redis-cli` as the administrator."""
        program, *words = self.filled(line)
        server = ["-p", str(self.redis.port), "--tls", "--cacert", str(self.redis.authority.file)]
        done = subprocess.run(
            [program, *server, "--user", ADMIN, "-e", *words],
            env={**os.environ, "REDISCLI_AUTH": self.redis.passwords[ADMIN]},
            timeout=60,
        )
        return done.returncode

    @contextmanager
    def worker_held(self) -> Iterator[None]:
        """Stop the processes of the worker in their tracks for the time of the block."""
        pids = self.worker.processes()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("runbook")
    lake = folder / "lake"
    shared = {
        "BULKSCORE_MODELS_URI": str(folder / "models"),
        "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
        "BULKSCORE_RECONCILE_SECONDS": "0.2",
        "BULKSCORE_RETRY_BASE_SECONDS": "0.1",
        "BULKSCORE_TORCH_THREADS": "1",
    }
    registry = Registry(Storage(), shared["BULKSCORE_MODELS_URI"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BULKSCORE_MODEL_CACHE_DIR", shared["BULKSCORE_MODEL_CACHE_DIR"])
        for version in ("2", "3"):
            model = tiny_model(folder / version, seed=int(version))
            register(registry, str(model), "sentiment", version=version, alias="production")
    for number, name in enumerate(("a", "b")):
        table = make_table(ordinary_texts(40), first_id=40 * number)
        place = lake / f"reviews/{name}.parquet"
        write_table(place, table, use_dictionary=False, write_page_checksum=True)
    command = [sys.executable, "-P", "-m", "worker", "--device=cpu"]
    with (
        SecuredRedis(tmp_path_factory.mktemp("redis")) as redis,
        start_command(command, env={**shared, **redis.env("worker")}) as worker,
    ):
        worker.wait_for_output("ready", timeout=START_SECONDS)
        env = {**shared, **redis.env("producer")}
        made = Stack(redis=redis, worker=worker, lake=lake, env=env)
        assert made.cli(f"{SUBMIT} -o EARLIER --job-id may --wait") == ExitCode.OK
        with made.worker_held():
            assert made.cli(f"{SUBMIT} -o OUTPUT --job-id JOB") == ExitCode.OK
            damage_text_page(lake / "reviews/b.parquet")
        assert made.cli("bulkscore wait JOB") == ExitCode.DEAD_CHUNKS
        yield made


def test_the_page_names_commands() -> None:
    assert len(LINES) > 20, LINES
    assert any(line.startswith("redis-cli") for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page_does_what_it_is_for(stack: Stack, line: str) -> None:
    if line.startswith("redis-cli"):
        assert stack.redis_cli(line) == 0
    elif line.startswith("bulkscore cancel"):
        with stack.worker_held():
            stack.cli(f"{SUBMIT} -o s3://lake/live --job-id live")
            assert stack.cli(line.replace("JOB", "live")) == ExitCode.OK
    else:
        assert stack.cli(line) in FINE
