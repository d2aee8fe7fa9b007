"""One door to objects, on local disk and on S3: list, read, create once, replace.

Locations are URIs: local paths, `file://` or `s3://bucket/key`. Nothing is ever half-written: an
object is created whole or not at all, and `create` never overwrites. Errors are those of our own
tree (`schemas.storage_errors`).
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from schemas import disk
from schemas.errors import BulkError, InputChanged, InputCorrupt, InputMissing, UsageError
from schemas.locations import bucket_and_key, is_s3, local_path, require_allowed, s3_path
from schemas.s3_connection import connect_s3, upload_seconds
from schemas.settings import StorageSettings
from schemas.storage_errors import already_exists, not_implemented, translated

# Above this s3fs switches to multipart uploads, whose completion some stores do not make
# conditional; results are kept below it.
MAX_CREATE_BYTES = 100 * 1024 * 1024

# Parts of 50 MB that an upload of a large file keeps in memory.
UPLOAD_PARTS_AT_ONCE = 2

# Worst case of `probe`, which sends two requests: twice these.
PROBE_CONNECT_SECONDS = 3.0
PROBE_READ_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStat:
    """An object as a listing shows it; `etag` changes when the content does."""

    uri: str
    size: int
    etag: str


class Storage:
    """Reads and writes objects; make one per process, after it has started."""

    def __init__(self, settings: StorageSettings | None = None) -> None:
        self._settings = settings or StorageSettings()
        self._s3: Any = None
        self._conditional = True  # until the store says that it knows no conditional PUT
        self._compares = True  # until it says that it knows no PUT that depends on the ETag

    @contextlib.contextmanager
    def _at(self, uri: str) -> Iterator[None]:
        """Go to a location that is allowed, and translate what happens there."""
        require_allowed(uri, self._settings.allowed)
        with translated(uri):
            yield

    def stat(self, uri: str) -> ObjectStat:
        """Return size and ETag of an object.

        Raises:
            InputMissing: There is no such object.
        """
        with self._at(uri):
            if is_s3(uri):
                bucket, key = bucket_and_key(uri)
                head = self.s3.call_s3("head_object", Bucket=bucket, Key=key)
                return _s3_stat(uri, head["ContentLength"], head["ETag"])
            path = local_path(uri)
            if path.is_dir():
                raise InputMissing(f"{uri} is a folder, not a file")
            return _local_stat(path)

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
        with self._at(uri):
            if is_s3(uri):
                yield from self._list_s3(uri, recursive=recursive)
                return
            root = local_path(uri)
            if root.is_dir():
                yield from _list_local(root, recursive=recursive)

    def list_folders(self, uri: str) -> list[str]:
        """Return the folders that lie directly in the folder `uri`, by name."""
        with self._at(uri):
            if is_s3(uri):
                bucket, _ = bucket_and_key(uri)
                pages = self._pages(uri, delimiter="/")
                prefixes = (p["Prefix"] for page in pages for p in page.get("CommonPrefixes", ()))
                # S3 sorts them with their slash: `a b/` before `a/`.
                return sorted(f"s3://{bucket}/{prefix.rstrip('/')}" for prefix in prefixes)
            root = local_path(uri)
            if not root.is_dir():
                return []
            with os.scandir(root) as listing:
                return sorted(entry.path for entry in listing if entry.is_dir())

    def _list_s3(self, uri: str, *, recursive: bool) -> Iterator[ObjectStat]:
        bucket, _ = bucket_and_key(uri)
        for page in self._pages(uri, delimiter="" if recursive else "/"):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):
                    place = f"s3://{bucket}/{found['Key']}"
                    yield _s3_stat(place, found["Size"], found["ETag"])

    def _pages(self, uri: str, *, delimiter: str) -> Iterator[dict[str, Any]]:
        """Yield a listing page by page, so that a million objects need no memory."""
        bucket, key = bucket_and_key(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        page: dict[str, Any] = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            token = page["NextContinuationToken"]
            following = {"ContinuationToken": token} if token else {}
            page = self.s3.call_s3("list_objects_v2", **request, **following)
            yield page

    def glob(self, pattern: str) -> list[ObjectStat]:
        """Return the objects that match a pattern of `*`, `?`, `[…]` and `**`, by name."""
        with self._at(pattern):
            if is_s3(pattern):
                found = self.s3.glob(s3_path(pattern), detail=True)
                return [_s3_details(i) for _, i in sorted(found.items()) if i["type"] == "file"]
            import glob

            names = sorted(glob.glob(str(local_path(pattern)), recursive=True))
            return [_local_stat(Path(n)) for n in names if Path(n).is_file()]

    def is_folder(self, uri: str) -> bool:
        """Say whether `uri` names a folder (on S3: whether anything lies under it)."""
        with self._at(uri):
            if is_s3(uri):
                return bool(self.s3.isdir(s3_path(uri)))
            return local_path(uri).is_dir()

    @contextlib.contextmanager
    def open(self, uri: str, *, expected: ObjectStat | None = None) -> Iterator[BinaryIO]:
        """Open an object for ranged reads; only the bytes asked for are moved.

        Args:
            uri: The object.
            expected: When given, size and ETag the object must still have.

        Raises:
            InputChanged: The object is not the one that `expected` describes.
        """
        with self._at(uri), self._stream(uri) as stream:
            # Asked of the open stream, which goes on with these very bytes: S3 is told the ETag
            # in every request, a local file is looked at again when all is read.
            if expected is not None:
                require_unchanged(_opened(uri, stream), expected)
            try:
                yield stream
            finally:
                if expected is not None and not is_s3(uri):
                    require_unchanged(_opened(uri, stream), expected)

    def _stream(self, uri: str) -> BinaryIO:
        if not is_s3(uri):
            return local_path(uri).open("rb")
        stream = self.s3.open(s3_path(uri), "rb", cache_type="none")
        if stream.details["type"] != "file":
            raise InputMissing(f"{uri} is a folder, not an object")
        return cast("BinaryIO", stream)

    def read(self, uri: str, *, at_most: int | None = None) -> bytes:
        """Return the whole content of a small object.

        Raises:
            InputCorrupt: It has more than `at_most` bytes, of which no more are fetched.
        """
        if at_most is not None and self.stat(uri).size > at_most:
            raise InputCorrupt(f"{uri} has more than the {at_most} bytes that it may have")
        with self._at(uri):
            if is_s3(uri):
                return bytes(self.s3.cat_file(s3_path(uri)))
            return local_path(uri).read_bytes()

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | BulkError]:
        """Return bytes `start` up to `end` of each object, on S3 many at a time.

        An error stands in its object's place, so that it does not hide what the others gave. Of an
        empty range, which S3 refuses to serve, nothing is asked.
        """
        for uri, _, _ in ranges:
            require_allowed(uri, self._settings.allowed)
        found: list[Any] = [b""] * len(ranges)
        asked = [place for place, (_, start, end) in enumerate(ranges) if start < end]
        remote = [place for place in asked if is_s3(ranges[place][0])]
        if remote:
            uris, starts, ends = zip(*(ranges[place] for place in remote), strict=True)
            paths = [s3_path(uri) for uri in uris]
            parts = self.s3.cat_ranges(paths, list(starts), list(ends), on_error="return")
            for place, part in zip(remote, parts, strict=True):
                found[place] = part
        for place in set(asked).difference(remote):
            found[place] = _local_range(*ranges[place])
        return [
            _translated_part(uri, part) for (uri, _, _), part in zip(ranges, found, strict=True)
        ]

    def create(self, uri: str, data: bytes) -> bool:
        """Create an object that must not exist yet, whole or not at all.

        A store that does not make a PUT conditional (`creates_once`) is looked at just before;
        then only writers of the same instant can write over each other.

        Returns:
            True when this call created it, False when it was there already.
        """
        with self._at(uri):
            if not is_s3(uri):
                return disk.create(local_path(uri), data)
            if len(data) > MAX_CREATE_BYTES:
                raise UsageError(
                    f"{uri} would be {len(data)} bytes, above the {MAX_CREATE_BYTES} that can be "
                    "created in one request: use smaller chunks (--chunk-rows)"
                )
            return not self.exists(uri) and self._put_new(uri, data)

    def creates_once(self, uri: str) -> bool:
        """Say whether the store by itself refuses to create the object `uri`, which is there."""
        with self._at(uri):
            return not is_s3(uri) or not self._put_new(uri, b"")

    def replace(self, uri: str, data: bytes) -> None:
        """Write an object, replacing what was there; readers see the old or the new whole."""
        with self._at(uri):
            if is_s3(uri):
                self._put(uri, data)
                return
            disk.replace(local_path(uri), data)

    def read_tagged(self, uri: str) -> tuple[bytes, str]:
        """Return the content of a small object, and the tag that `replace_if` wants to see."""
        with self._at(uri):
            if not is_s3(uri):
                data = local_path(uri).read_bytes()
                return data, disk.tag(data)
            etag = self.stat(uri).etag  # asked first: an older one than the content moves nothing
            return self.read(uri), etag

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
        with self._at(uri):
            if not is_s3(uri):
                return disk.replace_if(local_path(uri), data, tag)
            if self.stat(uri).etag != tag:
                return False
            return self._put_over(uri, data, tag) or self.read(uri) == data

    def swaps(self, uri: str) -> bool:
        """Say whether the store by itself compares before it swaps the object `uri`."""
        with self._at(uri):
            return not is_s3(uri) or not self._put_over(uri, b"", "0" * 32)

    def _put_over(self, uri: str, data: bytes, etag: str) -> bool:
        """Send a PUT that the store refuses when the object has another ETag, if it can."""
        # Without its quotes: Ceph compares it as it comes, others take both.
        condition = {"IfMatch": etag} if self._compares else {}
        try:
            self._put(uri, data, **condition)
        except Exception as error:
            if already_exists(error):
                return False
            if not (self._compares and not_implemented(error)):
                raise
            self._compares = False
            return self._put_over(uri, data, etag)
        return True

    def upload(self, source: Path, uri: str) -> None:
        """Write a local file of any size to an object, replacing what was there."""
        with self._at(uri):
            if not is_s3(uri):
                disk.copy(source, local_path(uri))
                return
            limit = upload_seconds(self._settings, source.stat().st_size)
            self.s3.put_file(
                str(source), s3_path(uri), timeout=limit, max_concurrency=UPLOAD_PARTS_AT_ONCE
            )

    def _put_new(self, uri: str, data: bytes) -> bool:
        """Send a PUT that the store refuses when the object is there, if it can."""
        mode = "create" if self._conditional else "overwrite"
        try:
            self._put(uri, data, mode=mode, chunksize=MAX_CREATE_BYTES)
        except Exception as error:
            if already_exists(error):
                return False
            if not (self._conditional and not_implemented(error)):
                raise
            self._conditional = False
            return self._put_new(uri, data)
        return True

    def _put(self, uri: str, data: bytes, **options: Any) -> None:
        limit = upload_seconds(self._settings, len(data))
        self.s3.pipe_file(s3_path(uri), data, timeout=limit, **options)

    def delete(self, uri: str) -> None:
        """Remove an object, or do nothing when it is not there."""
        with self._at(uri):
            if not is_s3(uri):
                local_path(uri).unlink(missing_ok=True)
                return
            with contextlib.suppress(FileNotFoundError):
                self.s3.rm_file(s3_path(uri))

    def delete_folder(self, uri: str) -> None:
        """Remove a folder with all that lies in it, or do nothing when it is not there."""
        if not is_s3(uri):
            with self._at(uri), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(local_path(uri))
            return
        for stat in list(self.list_objects(uri, recursive=True)):
            self.delete(stat.uri)

    def remove_leftovers(self, uri: str) -> int:
        """Remove what killed writers left below the folder `uri` on disk; S3 shows nothing of it.

        Returns:
            How many files that was.
        """
        if is_s3(uri):
            return 0
        with self._at(uri):
            return disk.remove_leftovers(local_path(uri))

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
        if not is_s3(uri):
            with self._at(uri):
                disk.probe(local_path(uri), room)
            return
        bucket, _ = bucket_and_key(uri)
        quick = self._settings.model_copy(
            update={
                "s3_connect_timeout_seconds": PROBE_CONNECT_SECONDS,
                "s3_read_timeout_seconds": PROBE_READ_SECONDS,
            }
        )
        with self._at(uri), translated(f"s3://{bucket}", hint=self._endpoint_hint()):
            connect_s3(quick, retries=1).call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)

    def _endpoint_hint(self) -> str:
        return f" (endpoint {self._settings.s3_endpoint_url or 'of AWS'})"

    @property
    def s3(self) -> Any:
        """The s3fs file system, made at first use."""
        if self._s3 is None:
            self._s3 = connect_s3(self._settings, retries=self._settings.s3_retries)
        return self._s3


def require_unchanged(found: ObjectStat, expected: ObjectStat) -> None:
    """Raise InputChanged when an object is not the one that was planned."""
    if (found.size, found.etag) != (expected.size, expected.etag):
        raise InputChanged(
            f"{expected.uri} changed since the job was planned: size {expected.size} → "
            f"{found.size}, ETag {expected.etag} → {found.etag}"
        )


def _s3_stat(uri: str, size: int, etag: str) -> ObjectStat:
    return ObjectStat(uri=uri, size=size, etag=etag.strip('"'))


def _s3_details(details: dict[str, Any]) -> ObjectStat:
    return _s3_stat(f"s3://{details['name']}", details["size"], details["ETag"])


def _translated_part(uri: str, part: bytes | Exception) -> bytes | BulkError:
    if isinstance(part, bytes):
        return part
    try:
        with translated(uri):
            raise part
    except BulkError as error:
        return error


def _local_range(uri: str, start: int, end: int) -> bytes | Exception:
    try:
        with local_path(uri).open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)
    except OSError as error:
        return error


def _list_local(
    folder: Path, *, recursive: bool, above: tuple[Path, ...] = ()
) -> Iterator[ObjectStat]:
    """Yield by name, links followed; what vanishes meanwhile, as writers' files do, is left out."""
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if not entry.is_dir():
            found = None
            with contextlib.suppress(FileNotFoundError):
                found = _local_status(path, entry.stat()) if entry.is_file() else None
            if found is not None:
                yield found
        elif recursive and not _leads_back(entry, (*above, folder)):
            yield from _list_local(path, recursive=True, above=(*above, folder))


def _leads_back(entry: os.DirEntry[str], above: tuple[Path, ...]) -> bool:
    """Say whether a folder is a link to one that it lies in."""
    return entry.is_symlink() and any(os.path.samefile(entry.path, f) for f in above)


def _opened(uri: str, stream: Any) -> ObjectStat:
    """Return what a stream reads from, whatever lies at its name by now."""
    if is_s3(uri):
        return _s3_details(stream.details)
    return _local_status(local_path(uri), os.fstat(stream.fileno()))


def _local_stat(path: Path) -> ObjectStat:
    return _local_status(path, path.stat())


def _local_status(path: Path, status: os.stat_result) -> ObjectStat:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectStat(uri=str(path.absolute()), size=status.st_size, etag=etag)
