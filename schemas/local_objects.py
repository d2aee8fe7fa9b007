"""Objects on a local disk: files, found by path; `disk` writes them."""

# ruff: noqa: D102 (`Storage` says what each method promises)

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from schemas import disk
from schemas.errors import InputMissing
from schemas.locations import local_path
from schemas.objects import ObjectStat


class LocalObjects:
    """Files below local paths and `file://` URIs."""

    def stat(self, uri: str) -> ObjectStat:
        path = local_path(uri)
        if path.is_dir():
            raise InputMissing(f"{uri} is a folder, not a file")
        return _stat(path)

    def list_objects(self, uri: str, *, recursive: bool) -> Iterator[ObjectStat]:
        root = local_path(uri)
        if root.is_dir():
            yield from _files(root, recursive=recursive)

    def list_folders(self, uri: str) -> list[str]:
        root = local_path(uri)
        if not root.is_dir():
            return []
        with os.scandir(root) as listing:
            return sorted(entry.path for entry in listing if entry.is_dir())

    def glob(self, pattern: str) -> list[ObjectStat]:
        import glob

        names = sorted(glob.glob(str(local_path(pattern)), recursive=True))
        return [_stat(Path(n)) for n in names if Path(n).is_file()]

    def is_folder(self, uri: str) -> bool:
        return local_path(uri).is_dir()

    def open(self, uri: str) -> BinaryIO:
        return local_path(uri).open("rb")

    def opened(self, uri: str, stream: Any) -> ObjectStat:
        return _status(local_path(uri), os.fstat(stream.fileno()))

    def read(self, uri: str) -> bytes:
        return local_path(uri).read_bytes()

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | Exception]:
        return [_range(*asked) for asked in ranges]

    def create(self, uri: str, data: bytes) -> bool:
        return disk.create(local_path(uri), data)

    def creates_once(self, uri: str) -> bool:
        return True

    def replace(self, uri: str, data: bytes) -> None:
        disk.replace(local_path(uri), data)

    def read_tagged(self, uri: str) -> tuple[bytes, str]:
        data = local_path(uri).read_bytes()
        return data, disk.tag(data)

    def replace_if(self, uri: str, data: bytes, tag: str) -> bool:
        return disk.replace_if(local_path(uri), data, tag)

    def swaps(self, uri: str) -> bool:
        return True

    def upload(self, source: Path, uri: str) -> None:
        disk.copy(source, local_path(uri))

    def delete(self, uri: str) -> None:
        local_path(uri).unlink(missing_ok=True)

    def delete_folder(self, uri: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(local_path(uri))

    def remove_leftovers(self, uri: str) -> int:
        return disk.remove_leftovers(local_path(uri))

    def probe(self, uri: str, *, room: int) -> None:
        disk.probe(local_path(uri), room)


def _range(uri: str, start: int, end: int) -> bytes | Exception:
    try:
        with local_path(uri).open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)
    except OSError as error:
        return error


def _files(folder: Path, *, recursive: bool, above: tuple[Path, ...] = ()) -> Iterator[ObjectStat]:
    """Yield by name, links followed; what vanishes meanwhile, as writers' files do, is left out."""
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if not entry.is_dir():
            found = None
            with contextlib.suppress(FileNotFoundError):
                found = _status(path, entry.stat()) if entry.is_file() else None
            if found is not None:
                yield found
        elif recursive and not _leads_back(entry, (*above, folder)):
            yield from _files(path, recursive=True, above=(*above, folder))


def _leads_back(entry: os.DirEntry[str], above: tuple[Path, ...]) -> bool:
    """Say whether a folder is a link to one that it lies in."""
    return entry.is_symlink() and any(os.path.samefile(entry.path, f) for f in above)


def _stat(path: Path) -> ObjectStat:
    return _status(path, path.stat())


def _status(path: Path, status: os.stat_result) -> ObjectStat:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectStat(uri=str(path.absolute()), size=status.st_size, etag=etag, modified=modified)
