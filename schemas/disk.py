"""Files on a local disk that appear whole or not at all, also when it is full or power is cut."""

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import StorageUnavailable

# A temporary file is in use for seconds: what is older was left by a writer that was killed.
LEFTOVER_SECONDS = 3600
# The dot hides it from readers of datasets.
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


def create(path: Path, data: bytes) -> bool:
    """Create a file with a hard link, which fails when the name exists; False if it did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Write a file with a rename, which replaces what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path, data) as temporary:
        temporary.replace(path)
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> int:
    """Remove what killed writers left below a folder, and return how many files it was."""
    removed = 0
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if _TEMPORARY.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):  # its writer is alive
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
                    removed += 1
    return removed


def probe(path: Path, room: int) -> None:
    """Look at the folder that `path` lies in, or would, and write so many bytes there.

    Raises:
        OSError: The disk does not answer or has no room for them.
    """
    folder = next(place for place in (path, *path.parents) if place.is_dir())
    os.statvfs(folder)
    if room:
        with _temporary(folder / path.name, bytes(room)):
            pass


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """Write `data` durably to a hidden file beside `path`, removed afterwards if still there."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    except FileNotFoundError as error:
        raise StorageUnavailable(f"{path.parent} was removed while it was written to") from error
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut, as the content of its files does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
