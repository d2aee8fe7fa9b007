"""The folder of a worker's temporary files, which does not outlast the worker.

A process that is killed removes nothing, and what it leaves would fill the disk in time. So a
worker locks its folder, and a new worker removes the folders that nobody locks: a lock ends with
its process.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "bulkscore-worker-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make the folder, for this process and its children to put all temporary files into."""
    parent = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as held:
        # Whoever holds this may take an unlocked folder for one whose worker is gone.
        with _locked(parent / f"{PREFIX}{os.getuid()}.lock"):
            for folder in parent.glob(f"{PREFIX}*/"):
                _remove_if_left(folder)
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
            held.enter_context(_locked(folder / "lock"))
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
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
