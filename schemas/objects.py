"""What a place for objects can do, and what an object is: the same on disk and on S3."""

# ruff: noqa: D102 (`Storage` says what each method promises)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from schemas.errors import InputChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStat:
    """An object as a listing shows it; `etag` changes when the content does.

    `modified` is when it was written last, None where that was not looked at; it is no part of
    what the object is.
    """

    uri: str
    size: int
    etag: str
    modified: datetime | None = field(default=None, compare=False)


class Objects(Protocol):
    """The objects of one kind of place; `Storage` says what each method promises.

    Errors are those of the libraries below, which `Storage` translates.
    """

    def stat(self, uri: str) -> ObjectStat: ...

    def list_objects(self, uri: str, *, recursive: bool) -> Iterator[ObjectStat]: ...

    def list_folders(self, uri: str) -> list[str]: ...

    def glob(self, pattern: str) -> list[ObjectStat]: ...

    def is_folder(self, uri: str) -> bool: ...

    def open(self, uri: str) -> BinaryIO: ...

    def opened(self, uri: str, stream: Any) -> ObjectStat:
        """Return what a stream of `open` reads from, whatever lies at its name by now."""
        ...

    def read(self, uri: str) -> bytes: ...

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | Exception]: ...

    def create(self, uri: str, data: bytes) -> bool: ...

    def creates_once(self, uri: str) -> bool: ...

    def replace(self, uri: str, data: bytes) -> None: ...

    def read_tagged(self, uri: str) -> tuple[bytes, str]: ...

    def replace_if(self, uri: str, data: bytes, tag: str) -> bool: ...

    def swaps(self, uri: str) -> bool: ...

    def upload(self, source: Path, uri: str) -> None: ...

    def delete(self, uri: str) -> None: ...

    def delete_folder(self, uri: str) -> None: ...

    def remove_leftovers(self, uri: str) -> int: ...

    def probe(self, uri: str, *, room: int) -> None: ...


def require_unchanged(found: ObjectStat, expected: ObjectStat) -> None:
    """Raise InputChanged when an object is not the one that was planned."""
    if (found.size, found.etag) != (expected.size, expected.etag):
        raise InputChanged(
            f"{expected.uri} changed since the job was planned: size {expected.size} → "
            f"{found.size}, ETag {expected.etag} → {found.etag}"
        )
