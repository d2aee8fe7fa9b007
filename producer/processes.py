"""Child processes: started in a group of their own, stopped by their own id, never left behind.

The producer never imports `worker` or torch; what it needs from that side it starts as a process.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from schemas import tether
from schemas.errors import BulkError, ConfigurationError

LOG_TAIL_BYTES = 4_000
# How long Ctrl-C is given to end a child in order before it is killed.
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05


class ProcessEnded(BulkError):
    """A process that should run has ended."""

    code = "process_ended"


class ChildProcess:
    """One child and where its output goes; a context manager that starts and stops it.

    Start it in the main thread (see `schemas.tether`).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path | None,
        environment: Mapping[str, str] | None = None,
        in_front: bool = False,
    ) -> None:
        """Prepare a child that does not run yet.

        Args:
            name: Shown in messages.
            command: Absolute path of a program, and its arguments; secrets do not belong here.
            log: File that takes its output, or None for our own stderr.
            environment: Variables on top of ours.
            in_front: It is a command that speaks to the user: its stdout is ours, unless it has a
                log, and it is asked to end as by Ctrl-C.
        """
        self.name = name
        self.log = log
        self._in_front = in_front
        self._command = list(command)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_to_end = False

    @property
    def pid(self) -> int:
        """The process id; it has been started."""
        if self._process is None:
            raise AssertionError(f"bug: {self.name} was never started")
        return self._process.pid

    def start(self) -> Self:
        """Start the process."""
        log = sys.stderr.fileno() if self.log is None else _open_log(self.log)
        stdout = sys.stdout.fileno() if self._in_front and self.log is None else log
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # the terminal's Ctrl-C is for us, we stop the child
            )
        finally:
            if self.log is not None:
                os.close(log)
        return self

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the process runs."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """Raise ProcessEnded, with the end of the log, when the process does not run any more."""
        if self.exit_code is not None:
            raise ProcessEnded(
                f"{self.name} (process {self.pid}) ended with {self.exit_code}"
                f"{self._log_for_message()}"
            )

    def terminate(self) -> None:
        """Ask the process, once, to end."""
        if self._process is not None and not self._asked_to_end:
            self._process.send_signal(signal.SIGINT if self._in_front else signal.SIGTERM)
            self._asked_to_end = True

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Ask the process to end, and kill it when it takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self.terminate()
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        except KeyboardInterrupt:  # the second Ctrl-C
            self.kill()
            raise

    def kill(self) -> None:
        """End the process and its group at once."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Return the exit code once the process has ended."""
        if self._process is None:
            raise AssertionError(f"bug: {self.name} was never started")
        return self._process.wait(timeout_seconds)

    def log_tail(self) -> str:
        """Return the end of the log, empty when it went to stderr."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - LOG_TAIL_BYTES))
            return stream.read().decode(errors="replace").strip()

    def _log_for_message(self) -> str:
        tail = self.log_tail()
        return f"; its log is {self.log} and ends:\n{tail}" if tail else ""

    def __enter__(self) -> Self:
        """Start the process."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the process."""
        self.stop()


def wait_until_ready(
    child: ChildProcess,
    ready: Callable[[], bool],
    *,
    timeout_seconds: float,
    pause: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    """Return once `ready` says so.

    Raises:
        ProcessEnded: The child ended instead.
        ConfigurationError: It runs and is not ready in time.
    """
    deadline = clock() + timeout_seconds
    while not ready():
        child.check()
        if clock() > deadline:
            raise ConfigurationError(
                f"{child.name} (process {child.pid}) was not ready within "
                f"{timeout_seconds:g} s{child._log_for_message()}"
            )
        pause(POLL_SECONDS)


def require_installed(module: str, extra: str, *, instead: str = "") -> None:
    """Raise ConfigurationError that says what to install when `module` is not there."""
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f"{module} is not installed: pip install 'bulkscore[{extra}]'{instead}"
        )


def module_command(module: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command that runs one of our modules with this very interpreter.

    `-P` keeps the current folder off the path: a stray `worker.py` there must not be run.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def options(**values: str | float | bool | Sequence[str] | None) -> list[str]:
    """Return values as `--name value`; None and False are left out, True stands alone.

    The values of a list follow each other, each behind the name.

    The value is joined to its name, so that one that begins with a dash is not taken for a name.
    """
    given: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            given.append(flag)
        elif isinstance(value, list):
            given += [f"{flag}={item}" for item in value]
        elif value is not None and value is not False:
            given.append(f"{flag}={value}")
    return given


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by one of our modules, which gets our terminal and our signals."""
    command = module_command(module, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
