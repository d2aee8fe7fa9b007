"""Files by which the processes of a worker tell each other, and its probes, what is so.

`hub` and `progress` are touched as the main process and the work on a chunk advance, the others
are there or not: `offline` (the main process has no connection to Redis), `child` (it has come
up), `ready` (chunks are taken), `busy` (one is worked on), `drain` (no more will be).
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import ConfigurationError

# Set by the main process for its child: who it is, and the folder of these files.
NAME_VARIABLE = "BULKSCORE_WORKER_NAME"
RUN_DIR_VARIABLE = "BULKSCORE_WORKER_RUN_DIR"
FLAGS = ("hub", "progress", "offline", "child", "ready", "busy", "drain")


@contextlib.contextmanager
def run_folder(folder: Path) -> Iterator[Path]:
    """Make `folder` this worker's own, without what an earlier one left.

    Raises:
        ConfigurationError: It cannot be written, or another worker uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "worker.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in FLAGS:
                (folder / name).unlink(missing_ok=True)
            os.environ[RUN_DIR_VARIABLE] = str(folder)
            yield folder
    except BlockingIOError:
        raise ConfigurationError(
            f"another worker uses {folder}: give each its own BULKSCORE_RUN_DIR"
        ) from None
    except PermissionError as error:
        raise ConfigurationError(
            f"BULKSCORE_RUN_DIR: {error.filename} cannot be written: {error.strerror}"
        ) from error


def raise_flag(name: str) -> None:
    """Have the file `name` be there, as of now."""
    if path := _path(name):
        path.touch()


def lower_flag(name: str) -> None:
    """Have no file `name`."""
    if path := _path(name):
        path.unlink(missing_ok=True)


def is_up(name: str) -> bool:
    """Say whether there is a file `name`."""
    path = _path(name)
    return path is not None and path.exists()


def age(name: str) -> float:
    """Return the seconds since `name` was touched, infinity if it is not there."""
    try:
        return time.time() - os.stat(_path(name) or "").st_mtime
    except FileNotFoundError:
        return float("inf")


def beat() -> None:
    """Note that the work on a chunk advances."""
    raise_flag("progress")


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Say during the block that a chunk is worked on."""
    beat()
    raise_flag("busy")
    try:
        yield
    finally:
        lower_flag("busy")


def _path(name: str) -> Path | None:
    folder = os.environ.get(RUN_DIR_VARIABLE)
    return Path(folder) / name if folder else None
