"""One door to objects, on local disk and on S3: list, read, create once, replace.

Locations are URIs: local paths, `file://` or `s3://bucket/key`. Nothing is ever half-written: an
object is created whole or not at all, and `create` never overwrites. Errors are those of our own
tree (`schemas.storage_errors`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from schemas.errors import BulkError, InputCorrupt, InputMissing
from schemas.local_objects import LocalObjects
from schemas.locations import is_s3, require_allowed
from schemas.objects import Objects, ObjectStat, require_unchanged
from schemas.s3_objects import S3Objects
from schemas.settings import StorageSettings
from schemas.storage_errors import translated


class Storage:
    """Reads and writes objects; make one per process, after it has started."""

    def __init__(self, settings: StorageSettings | None = None) -> None:
        self._settings = settings or StorageSettings()
        self._local = LocalObjects()
        self._remote = S3Objects(self._settings)

    @property
    def s3(self) -> Any:
        """The s3fs file system."""
        return self._remote.fs

    @property
    def for_own_files(self) -> "Storage":
        """The same door without the allow-list: for files that this process has made itself."""
        return Storage(self._settings.model_copy(update={"allowed_uris": ""}))

    def _of(self, uri: str) -> Objects:
        return self._remote if is_s3(uri) else self._local

    @contextlib.contextmanager
    def _at(self, uri: str) -> Iterator[Objects]:
        """Go to a location that is allowed, and translate what happens there."""
        require_allowed(uri, self._settings.allowed)
        with translated(uri):
            yield self._of(uri)

    def stat(self, uri: str) -> ObjectStat:
        """Return size and ETag of an object.

        Raises:
            InputMissing: There is no such object.
        """
        with self._at(uri) as place:
            return place.stat(uri)

    def exists(self, uri: str) -> bool:
        """Say whether there is an object at `uri`."""
        try:
            self.stat(uri)
        except InputMissing:
            return False
        return True

    def list_objects(self, uri: str, *, recursive: bool = False) -> Iterator[ObjectStat]:
        """Yield the objects in the folder `uri` by name, none when there is no such folder.

        Raises:
            InputMissing: There is no such bucket.
        """
        with self._at(uri) as place:
            yield from place.list_objects(uri, recursive=recursive)

    def list_folders(self, uri: str) -> list[str]:
        """Return the folders that lie directly in the folder `uri`, by name."""
        with self._at(uri) as place:
            return place.list_folders(uri)

    def glob(self, pattern: str) -> list[ObjectStat]:
        """Return the objects that match a pattern of `*`, `?`, `[…]` and `**`, by name."""
        with self._at(pattern) as place:
            return place.glob(pattern)

    def is_folder(self, uri: str) -> bool:
        """Say whether `uri` names a folder (on S3: whether anything lies under it)."""
        with self._at(uri) as place:
            return place.is_folder(uri)

    @contextlib.contextmanager
    def open(self, uri: str, *, expected: ObjectStat | None = None) -> Iterator[BinaryIO]:
        """Open an object for ranged reads; only the bytes asked for are moved.

        Args:
            uri: The object.
            expected: When given, size and ETag the object must still have.

        Raises:
            InputChanged: The object is not the one that `expected` describes.
        """
        with self._at(uri) as place, place.open(uri) as stream:
            # Asked of the open stream, which goes on with these very bytes: S3 is told the ETag
            # in every request, a local file is looked at again when all is read.
            if expected is not None:
                require_unchanged(place.opened(uri, stream), expected)
            try:
                yield stream
            finally:
                if expected is not None:
                    require_unchanged(place.opened(uri, stream), expected)

    def read(self, uri: str, *, at_most: int | None = None) -> bytes:
        """Return the whole content of a small object.

        Raises:
            InputCorrupt: It has more than `at_most` bytes, of which no more are fetched.
        """
        with self._at(uri) as place:
            if at_most is not None and place.stat(uri).size > at_most:
                raise InputCorrupt(f"{uri} has more than the {at_most} bytes that it may have")
            return place.read(uri)

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | BulkError]:
        """Return bytes `start` up to `end` of each object, on S3 many at a time.

        An error stands in its object's place, so that it does not hide what the others gave. Of an
        empty range, which S3 refuses to serve, nothing is asked.
        """
        for uri, _, _ in ranges:
            require_allowed(uri, self._settings.allowed)
        found: list[bytes | BulkError] = [b""] * len(ranges)
        asked = [number for number, (_, start, end) in enumerate(ranges) if start < end]
        for place in (self._local, self._remote):
            numbers = [number for number in asked if self._of(ranges[number][0]) is place]
            parts = place.read_ranges([ranges[n] for n in numbers]) if numbers else []
            for number, part in zip(numbers, parts, strict=True):
                found[number] = _translated_part(ranges[number][0], part)
        return found

    def create(self, uri: str, data: bytes) -> bool:
        """Create an object that must not exist yet, whole or not at all.

        A store that does not make a PUT conditional (`creates_once`) is looked at just before;
        then only writers of the same instant can write over each other.

        Returns:
            True when this call created it, False when it was there already.
        """
        with self._at(uri) as place:
            return place.create(uri, data)

    def creates_once(self, uri: str) -> bool:
        """Say whether the store by itself refuses to create the object `uri`, which is there."""
        with self._at(uri) as place:
            return place.creates_once(uri)

    def replace(self, uri: str, data: bytes) -> None:
        """Write an object, replacing what was there; readers see the old or the new whole."""
        with self._at(uri) as place:
            place.replace(uri, data)

    def read_tagged(self, uri: str) -> tuple[bytes, str]:
        """Return the content of a small object, and the tag that `replace_if` wants to see."""
        with self._at(uri) as place:
            return place.read_tagged(uri)

    def replace_if(self, uri: str, data: bytes, tag: str) -> bool:
        """Replace an object whose content is the one that came with `tag`: compare and swap.

        A store that does not make a PUT depend on the ETag (`swaps`) is looked at just before. The
        content must be like no other, so that it can be told whether a PUT without answer went
        through.

        Returns:
            True when the object is now ours, False when another one was there.

        Raises:
            InputMissing: There is no such object.
        """
        with self._at(uri) as place:
            return place.replace_if(uri, data, tag)

    def swaps(self, uri: str) -> bool:
        """Say whether the store by itself compares before it swaps the object `uri`."""
        with self._at(uri) as place:
            return place.swaps(uri)

    def upload(self, source: Path, uri: str) -> None:
        """Write a local file of any size to an object, replacing what was there."""
        with self._at(uri) as place:
            place.upload(source, uri)

    def delete(self, uri: str) -> None:
        """Remove an object, or do nothing when it is not there."""
        with self._at(uri) as place:
            place.delete(uri)

    def delete_folder(self, uri: str) -> None:
        """Remove a folder with all that lies in it, or do nothing when it is not there."""
        with self._at(uri) as place:
            place.delete_folder(uri)

    def remove_leftovers(self, uri: str) -> int:
        """Remove what killed writers left below the folder `uri` on disk; S3 shows nothing of it.

        Returns:
            How many files that was.
        """
        with self._at(uri) as place:
            return place.remove_leftovers(uri)

    def probe(self, uri: str, *, room: int = 0) -> None:
        """Ask once whether the bucket or disk behind `uri` can be reached, within 10 seconds.

        Args:
            uri: An object or folder, which need not exist.
            room: Bytes that a disk must have room for.

        Raises:
            StorageUnavailable: Nothing answers, or there is no room.
            AccessDenied: The store refuses these credentials.
            InputMissing: There is no such bucket.
        """
        with self._at(uri) as place:
            place.probe(uri, room=room)


def _translated_part(uri: str, part: bytes | Exception) -> bytes | BulkError:
    if isinstance(part, bytes):
        return part
    try:
        with translated(uri):
            raise part
    except BulkError as error:
        return error
