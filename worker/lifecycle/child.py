"""The process in which a lifecycle task runs: a module of its own, tied to this one's life.

A child of Celery's pool may have no children by multiprocessing; a process of another kind it may.
It works in a folder of its own, whose lock it holds as long as it lives, whatever becomes of us.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from schemas import tether
from schemas.errors import BulkError, LeaseLost
from schemas.task_record import is_task_id

# How long it is given to end in order before it is killed.
STOP_SECONDS = 20.0
LOG_BYTES = 256 * 1024
_LINE_BYTES = 2_000


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[IO[bytes]]:
    """Hold the folder in which a task works, and yield the lock.

    Raises:
        LeaseLost: Another process, of an attempt that was given up, still works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeaseLost(f"an earlier attempt still works in {folder}") from None
        yield lock


def clear_ended(parent: Path, ended: Callable[[str], bool]) -> None:
    """Remove the folders of tasks that have ended elsewhere, for all that was done here."""
    for folder in parent.glob("*/"):
        with contextlib.suppress(BulkError):
            if is_task_id(folder.name) and ended(folder.name):
                with work_folder(folder):
                    shutil.rmtree(folder, ignore_errors=True)


class TaskProcess:
    """A module at work: `python -m MODULE ARGUMENTS` in `folder`.

    Start it in the main thread, see `schemas.tether`.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], folder: Path, lock: IO[bytes]
    ) -> None:
        scratch = folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._printed, self._log = folder / "printed", folder / "log"
        # -P keeps the folder off the path: what lies there must not be run.
        command = [sys.executable, "-P", "-m", module, *arguments]
        with self._printed.open("wb") as printed, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *command],
                cwd=folder,
                env={**os.environ, "TMPDIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, None when it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Ask it to end, as by Ctrl-C, and kill it and all it has started when that takes long."""
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                self.wait(STOP_SECONDS)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def printed(self) -> str:
        """Return what it has written to stdout."""
        return self._printed.read_text(encoding="utf-8", errors="replace")

    def log(self) -> bytes:
        """Return the end of what it has written to stderr."""
        return tail(self._log, LOG_BYTES)

    def last_line(self) -> str:
        """Return the last line of the log that is not empty."""
        lines = tail(self._log, _LINE_BYTES).decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def tail(path: Path, size: int) -> bytes:
    """Return the last bytes of a file."""
    with path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
        return stream.read()
