"""A private broker and one real worker that stay up for a whole module of tests."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from support.processes import CompletedCli, RunningCli, run_cli, start_command
from support.servers import ValkeyServer

START_SECONDS = 90.0
JOB_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class LiveStack:
    """A broker, a worker and a model, in a folder of their own."""

    broker: ValkeyServer
    worker: RunningCli
    model: Path
    env: dict[str, str]

    @property
    def ledger(self) -> Ledger:
        """The ledger, looked at from the test."""
        return Ledger(BrokerSettings(redis_url=self.broker.url))

    def cli(self, *args: str | Path, **options: Any) -> CompletedCli:
        """Run a command against this broker."""
        env = {**self.env, **options.pop("env", {})}
        return run_cli(*map(str, args), env=env, timeout=JOB_SECONDS, **options)

    def scoring(self, corpus: str | Path, *args: str | Path) -> list[str]:
        """Return the options that plan, submit and run share; `args` override them."""
        options = ("--input", corpus, "--model", self.model, "--text-column", "text")
        return [str(word) for word in (*options, *args)]

    def submit(
        self, corpus: str | Path, output: str | Path, *args: str | Path, **options: Any
    ) -> CompletedCli:
        """Submit a job of few rows a chunk."""
        return self.cli("submit", *self.scoring(corpus, "--output", output, *args), **options)

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that the broker knows."""
        return self.ledger.jobs()

    @contextmanager
    def worker_held(self) -> Iterator[None]:
        """Stop the worker's processes in their tracks for the time of the block."""
        held = self.worker.processes()
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def live_stack(folder: Path, model: Path) -> Iterator[LiveStack]:
    """Run a broker and a worker on the CPU whose files all lie below `folder`."""
    with ValkeyServer(folder) as broker:
        env = {
            "BULKSCORE_REDIS_URL": broker.url,
            "BULKSCORE_RECONCILE_SECONDS": "0.2",
            "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "models"),
            "BULKSCORE_TORCH_THREADS": "1",
            "XDG_STATE_HOME": str(folder / "state"),
        }
        command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
        with start_command(command, env=env) as worker:
            worker.wait_for_output("ready", timeout=START_SECONDS)
            yield LiveStack(broker=broker, worker=worker, model=model, env=env)


def assert_refused(
    done: CompletedCli, stack: LiveStack, before: list[str], output: Path, *says: str
) -> None:
    """Check that a command refused its input by one line with all of `says`, and created nothing.

    Args:
        done: The command.
        stack: What it ran against.
        before: `stack.jobs()` before it.
        output: Where nothing may have been created.
        says: Patterns that the line must match.
    """
    assert done.exit_code == 2, done
    assert done.stdout == "", done
    errors = [line for line in done.stderr.splitlines() if line.startswith("error [")]
    assert len(errors) == 1, done
    assert "Traceback" not in done.stderr, done
    for words in says:
        assert re.search(words, errors[0]), f"{words!r} is not said:\n{done}"
    assert not output.exists(), done
    assert stack.jobs() == before, done
