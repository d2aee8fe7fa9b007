"""Running the `bulkscore` command as its own process, as a user would."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.guard import (
    RUN_ID_VARIABLE,
    ProcessId,
    die_with_parent,
    kill_processes,
    processes_of_run,
)
from support.waiting import wait_until

__all__ = [
    "CompletedCli",
    "RunningCli",
    "run_cli",
    "start_cli",
    "start_command",
    "wait_until",
]

Environment = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedCli:
    """What a finished command left behind."""

    args: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    def json(self) -> Any:
        """Parse stdout as one JSON document."""
        try:
            return json.loads(self.stdout)
        except json.JSONDecodeError as error:
            raise AssertionError(f"stdout is not JSON ({error})\n{self}") from error

    def __str__(self) -> str:
        """Show everything, for the message of a failing assertion."""
        command = " ".join(("bulkscore", *self.args))
        return (
            f"$ {command}\nexit code {self.exit_code} after {self.seconds:.1f} s\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


class RunningCli:
    """A command that still runs, with its output in files so that no pipe can fill up."""

    def __init__(self, process: "subprocess.Popen[bytes]", run_id: str, directory: Path) -> None:
        """Wrap a started process; use `start_cli` instead."""
        self.pid = process.pid
        self._run_id = run_id
        self._process = process
        self._directory = directory
        self._known: set[ProcessId] = set()
        self._kept: dict[str, str] = {}

    @property
    def stdout(self) -> str:
        """What the command has written to stdout so far."""
        return self._output("stdout")

    @property
    def stderr(self) -> str:
        """What the command has written to stderr so far."""
        return self._output("stderr")

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        return self._process.poll()

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the end and return the exit code (minus the signal if one ended it)."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still runs after {timeout:g} s\n{self}") from error

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself, not to its children."""
        self.processes()
        self._process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the command's whole process group, as a terminal's Ctrl-C does."""
        self.processes()
        os.killpg(self.pid, number)

    def terminate(self, timeout: float = 30.0) -> int:
        """Ask the command to stop (SIGTERM) and return its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """Kill the command itself, leaving its children as a crash would."""
        self.send_signal(signal.SIGKILL)
        return self.wait()

    def processes(self) -> list[int]:
        """List the ids of the living processes of the command: itself and all its descendants.

        One that has lost its parent and its environment is still listed if it was seen before;
        each signal sent from here looks around first.
        """
        self._known |= processes_of_run(self._run_id)
        return sorted(process.pid for process in self._known if process.alive)

    def stop(self, timeout: float) -> None:
        """End the command in order if it still runs, then kill whatever it left."""
        if self.poll() is None:
            self.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self.processes()
        kill_processes(self._known)
        wait_until(lambda: not self.processes(), message=f"the end of {self.processes()}")
        self._kept = {name: self._output(name) for name in ("stdout", "stderr")}

    def _output(self, name: str) -> str:
        """Read an output file, or what was kept of it when the files were removed."""
        if name in self._kept:
            return self._kept[name]
        return (self._directory / name).read_text(errors="replace")

    def wait_for_output(self, text: str, timeout: float = 30.0) -> None:
        """Wait until stdout or stderr holds the text; fail at once if the command has ended."""

        def seen() -> bool:
            ended = self.poll() is not None
            found = text in self.stdout or text in self.stderr
            assert found or not ended, f"ended without writing {text!r}\n{self}"
            return found

        wait_until(seen, timeout, message=lambda: f"{text!r} in the output of\n{self}")

    def __str__(self) -> str:
        """Show the output, for the message of a failing assertion."""
        return (
            f"process {self.pid}, exit code {self.poll()}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


def run_cli(
    *args: str | os.PathLike[str],
    env: Environment | None = None,
    timeout: float = 120.0,
    cwd: Path | None = None,
    stdin: str = "",
) -> CompletedCli:
    """Run `bulkscore ARGS` to its end and return what it left; never raises for an exit code.

    Args:
        args: Arguments after the command's name.
        env: Variables on top of the test's own environment; None removes one.
        timeout: Seconds after which the command and all its children are killed.
        cwd: Working directory.
        stdin: Text fed to standard input.
    """
    words = tuple(os.fspath(arg) for arg in args)
    began = time.monotonic()
    with start_cli(*words, env=env, cwd=cwd, stdin=stdin) as running:
        exit_code = running.wait(timeout)
        return CompletedCli(
            args=words,
            exit_code=exit_code,
            stdout=running.stdout,
            stderr=running.stderr,
            seconds=time.monotonic() - began,
        )


def start_cli(
    *args: str | os.PathLike[str],
    env: Environment | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    stop_timeout: float = 20.0,
) -> AbstractContextManager[RunningCli]:
    """Start `bulkscore ARGS`; see `start_command`."""
    command = [bulkscore_path(), *args]
    return start_command(command, env=env, cwd=cwd, stdin=stdin, stop_timeout=stop_timeout)


@contextmanager
def start_command(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Environment | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    stop_timeout: float = 20.0,
) -> Iterator[RunningCli]:
    """Start a command in a session of its own; at the end of the block nothing of it lives.

    The end is SIGTERM to the command, `stop_timeout` seconds to leave, then SIGKILL to whatever
    it and its children left, each by its own id. A test that cares whether the command cleans up
    after itself asserts `running.terminate()` and `running.processes() == []` inside the block.
    """
    run_id = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="bulkscore-test-") as name:
        directory = Path(name)
        (directory / "stdin").write_text(stdin)
        with (
            (directory / "stdin").open("rb") as source,
            (directory / "stdout").open("wb") as out,
            (directory / "stderr").open("wb") as err,
        ):
            process = subprocess.Popen(
                command,
                stdin=source,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=_environment(env, run_id),
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        running = RunningCli(process, run_id, directory)
        try:
            yield running
        finally:
            running.stop(stop_timeout)


def bulkscore_path() -> Path:
    """Return the command installed beside the running interpreter."""
    path = Path(sys.executable).parent / "bulkscore"
    assert path.exists(), f"{path} is missing: install the project (pip install -e .) first"
    return path


def _environment(changes: Environment | None, run_id: str) -> dict[str, str]:
    merged = {**os.environ, **(changes or {}), RUN_ID_VARIABLE: run_id}
    return {name: value for name, value in merged.items() if value is not None}
