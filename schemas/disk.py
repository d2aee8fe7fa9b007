"""Files on a local disk that appear whole or not at all, also when it is full or power is cut."""

import contextlib
import fcntl
import hashlib
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
    with _temporary(path, io.BytesIO(data)) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Write a file with a rename, which replaces what was there."""
    _replace(path, io.BytesIO(data))


def replace_if(path: Path, data: bytes, content_tag: str) -> bool:
    """Replace a file whose content still has this tag; False if it has another.

    A lock file beside it, hidden by its dot, lets one writer at a time compare and write; the
    system frees it when its holder ends in any way.
    """
    with path.with_name(f".{path.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if tag(path.read_bytes()) != content_tag:
            return False
        replace(path, data)
    return True


def copy(source: Path, path: Path) -> None:
    """Copy a file, however large, with a rename, which replaces what was there."""
    with source.open("rb") as stream:
        _replace(path, stream)


def tag(data: bytes) -> str:
    """Return what changes when the content of a file does; its time of change may stay."""
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, source: BinaryIO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path, source) as temporary:
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
        with _temporary(folder / path.name, io.BytesIO(bytes(room))):
            pass


@contextlib.contextmanager
def _temporary(path: Path, source: BinaryIO) -> Iterator[Path]:
    """Write `source` durably to a hidden file beside `path`, removed afterwards if still there."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as stream:
            shutil.copyfileobj(source, stream)
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
