"""What the disk of the work folder refuses, as one sentence; nothing half written stays."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from schemas.errors import BulkError, UsageError
from worker.lifecycle.train_work import Work

# Libraries hide the number of the error: with less than this left it was the disk.
LITTLE_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)


@contextlib.contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into a UsageError.

    The last whole checkpoint stays, so that the training can go on when there is room.
    """
    try:
        yield
    except BulkError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        if _is_full(folder, error):
            shutil.rmtree(folder / "scratch", ignore_errors=True)
            Work(folder, {}).checkpoint()
            raise UsageError(
                f"{folder}: no space left on the disk: make room and give the same command again, "
                "which goes on from the last checkpoint, or remove the folder and give another "
                "--out"
            ) from error
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise UsageError(f"{error.filename or folder}: {error.strerror}") from error
        raise


def _is_full(folder: Path, error: Exception) -> bool:
    if getattr(error, "errno", None) in _FULL or "No space left" in str(error):
        return True
    try:
        return shutil.disk_usage(folder).free < LITTLE_BYTES
    except OSError:
        return False
