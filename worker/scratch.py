"""Folders of temporary files that do not outlast their process.

A process that is killed removes nothing, and what it leaves would fill the disk in time. So a
process locks its folder, and the next one of its kind removes the folders that nobody locks: a lock
ends with its process.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "bulkscore-worker-"


def scratch_folder() -> Path:
    """Make the folder, for this process and its children to put all temporary files into.

    It goes at the very end of the process, after the libraries that clear up in it by themselves.
    """
    held = contextlib.ExitStack()
    atexit.register(held.close)  # what is registered first is called last
    folder = held.enter_context(folder_of_process(PREFIX))
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    return folder


@contextlib.contextmanager
def folder_of_process(prefix: str) -> Iterator[Path]:
    """Make a temporary folder, and remove those with this prefix whose process was killed."""
    parent = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as held:
        # Whoever holds this may take an unlocked folder for one whose process is gone.
        with _locked(parent / f"{prefix}{os.getuid()}.lock"):
            for folder in parent.glob(f"{prefix}*/"):
                _remove_if_left(folder)
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            held.enter_context(_locked(folder / "lock"))
        yield folder


def _remove_if_left(folder: Path) -> None:
    # Locked, another user's, or going away by itself.
    with contextlib.suppress(OSError), _locked(folder / "lock", fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, flags: int = 0) -> Iterator[None]:
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | flags)
        yield
