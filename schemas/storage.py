"""One door to objects, on local disk and on S3: list, read, create once, replace.

Locations are URIs: local paths, `file://` or `s3://bucket/key`. Errors of the libraries below are
translated here, once, into our own tree. Nothing is ever half-written: an object is created whole
or not at all, and `create` never overwrites.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from schemas.errors import (
    AccessDenied,
    BulkError,
    InputChanged,
    InputMissing,
    StorageUnavailable,
    UsageError,
)
from schemas.settings import StorageSettings

# Above this s3fs switches to multipart uploads, whose completion some stores do not make
# conditional; results are kept below it.
MAX_CREATE_BYTES = 100 * 1024 * 1024

_DENIED_CODES = {
    "AccessDenied",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "ExpiredToken",
    "InvalidToken",
    "403",
}
_MISSING_CODES = {"NoSuchKey", "NoSuchBucket", "404"}
_EXISTS_CODES = {"PreconditionFailed", "412"}


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

    def stat(self, uri: str) -> ObjectStat:
        """Return size and ETag of an object.

        Raises:
            InputMissing: There is no such object.
        """
        with translated(uri):
            if is_s3(uri):
                return _s3_stat(self.s3.info(s3_path(uri), refresh=True))
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
        """Yield the objects in the folder `uri` by name, none when there is no such folder."""
        with translated(uri):
            if is_s3(uri):
                yield from self._list_s3(uri, recursive=recursive)
                return
            root = local_path(uri)
            pattern = "**/*" if recursive else "*"
            if root.is_dir():
                yield from (_local_stat(p) for p in sorted(root.glob(pattern)) if p.is_file())

    def _list_s3(self, uri: str, *, recursive: bool) -> Iterator[ObjectStat]:
        depth = None if recursive else 1
        try:
            found = self.s3.find(s3_path(uri).rstrip("/") + "/", maxdepth=depth, detail=True)
        except FileNotFoundError:
            return
        for _, info in sorted(found.items()):
            if info["type"] == "file":
                yield _s3_stat(info)

    def glob(self, pattern: str) -> list[ObjectStat]:
        """Return the objects that match a pattern of `*`, `?`, `[…]` and `**`, by name."""
        with translated(pattern):
            if is_s3(pattern):
                found = self.s3.glob(s3_path(pattern), detail=True)
                return [_s3_stat(i) for _, i in sorted(found.items()) if i["type"] == "file"]
            import glob

            names = sorted(glob.glob(str(local_path(pattern)), recursive=True))
            return [_local_stat(Path(n)) for n in names if Path(n).is_file()]

    def is_folder(self, uri: str) -> bool:
        """Say whether `uri` names a folder (on S3: whether anything lies under it)."""
        with translated(uri):
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
        with translated(uri):
            if expected is not None:
                require_unchanged(self.stat(uri), expected)
            if is_s3(uri):
                stream = self.s3.open(s3_path(uri), "rb", cache_type="none")
            else:
                stream = local_path(uri).open("rb")
            with stream:
                yield cast("BinaryIO", stream)

    def read(self, uri: str) -> bytes:
        """Return the whole content of a small object."""
        with translated(uri):
            if is_s3(uri):
                return bytes(self.s3.cat_file(s3_path(uri)))
            return local_path(uri).read_bytes()

    def create(self, uri: str, data: bytes) -> bool:
        """Create an object that must not exist yet, whole or not at all.

        Returns:
            True when this call created it, False when it was there already.
        """
        with translated(uri):
            if not is_s3(uri):
                return _link_into_place(local_path(uri), data)
            if len(data) > MAX_CREATE_BYTES:
                raise UsageError(
                    f"{uri} would be {len(data)} bytes, above the {MAX_CREATE_BYTES} that can be "
                    "created in one request: use smaller chunks (--chunk-rows)"
                )
            try:
                self.s3.pipe_file(s3_path(uri), data, mode="create", chunksize=MAX_CREATE_BYTES)
            except Exception as error:
                if isinstance(error, FileExistsError) or _s3_code(error) in _EXISTS_CODES:
                    return False
                raise
            return True

    def replace(self, uri: str, data: bytes) -> None:
        """Write an object, replacing what was there; readers see the old or the new whole."""
        with translated(uri):
            if is_s3(uri):
                self.s3.pipe_file(s3_path(uri), data)
                return
            path = local_path(uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            with _temporary(path, data) as temporary:
                temporary.replace(path)

    def delete(self, uri: str) -> None:
        """Remove an object, or do nothing when it is not there."""
        with translated(uri):
            if not is_s3(uri):
                local_path(uri).unlink(missing_ok=True)
                return
            with contextlib.suppress(FileNotFoundError):
                self.s3.rm_file(s3_path(uri))

    def probe(self, uri: str) -> None:
        """Ask once whether the bucket or folder behind `uri` can be reached, within 10 seconds.

        Raises:
            StorageUnavailable: Nothing answers.
            AccessDenied: The store refuses these credentials.
            InputMissing: There is no such bucket.
        """
        if not is_s3(uri):
            return
        bucket = s3_path(uri).partition("/")[0]
        quick = self._settings.model_copy(
            update={"s3_read_timeout_seconds": 4.0, "s3_connect_timeout_seconds": 3.0}
        )
        with translated(f"s3://{bucket}", hint=self._endpoint_hint()):
            connect_s3(quick, retries=1).call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)

    def _endpoint_hint(self) -> str:
        return f" (endpoint {self._settings.s3_endpoint_url or 'of AWS'})"

    @property
    def s3(self) -> Any:
        """The s3fs file system, made at first use."""
        if self._s3 is None:
            self._s3 = connect_s3(self._settings, retries=self._settings.s3_retries)
        return self._s3


def connect_s3(settings: StorageSettings, *, retries: int) -> Any:
    """Return an s3fs file system with explicit time-outs, retries and no caches."""
    import s3fs

    fs = s3fs.S3FileSystem(
        endpoint_url=settings.s3_endpoint_url,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": settings.s3_connect_timeout_seconds,
            "read_timeout": settings.s3_read_timeout_seconds,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "s3": {"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
        },
    )
    fs.retries = retries
    return fs


def is_s3(uri: str) -> bool:
    """Say whether `uri` is on S3.

    Raises:
        UsageError: The scheme is neither `s3`, `file` nor none.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme == "file":
        return False
    if scheme == "s3":
        return True
    raise UsageError(f"{uri}: unknown scheme {scheme!r}, use a local path, file:// or s3://")


def s3_path(uri: str) -> str:
    """Return bucket and key of an `s3://` URI."""
    return uri.removeprefix("s3://")


def local_path(uri: str) -> Path:
    """Return the absolute path of a local path or `file://` URI."""
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return Path(uri).expanduser().absolute()


def canonical(uri: str) -> str:
    """Return the one spelling of a location that is kept in records: absolute, no trailing /."""
    if is_s3(uri):
        return uri.rstrip("/")
    return str(local_path(uri))


def require_unchanged(found: ObjectStat, expected: ObjectStat) -> None:
    """Raise InputChanged when an object is not the one that was planned."""
    if (found.size, found.etag) != (expected.size, expected.etag):
        raise InputChanged(
            f"{expected.uri} changed since the job was planned: size {expected.size} → "
            f"{found.size}, ETag {expected.etag} → {found.etag}"
        )


@contextlib.contextmanager
def translated(uri: str, hint: str = "") -> Iterator[None]:
    """Turn the errors of s3fs, botocore, aiohttp and the OS into ours, the cause attached."""
    try:
        yield
    except BulkError:
        raise
    except Exception as error:
        ours = _translate(uri, hint, error)
        if ours is None:
            raise
        raise ours from error


def _translate(uri: str, hint: str, error: Exception) -> BulkError | None:
    code = _s3_code(error)
    if isinstance(error, FileNotFoundError) or code in _MISSING_CODES:
        return InputMissing(f"{uri} does not exist{hint}")
    if isinstance(error, PermissionError) or code in _DENIED_CODES:
        return AccessDenied(f"{uri}: access denied ({code or 'no permission'}){hint}")
    if type(error).__name__ == "FileExpired":
        return InputChanged(f"{uri} was replaced while it was read")
    if is_s3(uri) and _is_transport_error(error):
        cause = code or type(_root(error)).__name__
        return StorageUnavailable(f"{uri}: storage does not answer ({cause}){hint}")
    if isinstance(error, OSError) and error.errno is not None:
        return StorageUnavailable(f"{uri}: {os.strerror(error.errno)}{hint}")
    return None


def _is_transport_error(error: Exception) -> bool:
    import asyncio

    import aiohttp
    from botocore.exceptions import BotoCoreError, ClientError

    # A bare OSError without number or cause is Arrow speaking of bytes it cannot decode.
    if type(error) is OSError and error.errno is None and error.__cause__ is None:
        return False
    known = (OSError, BotoCoreError, ClientError, aiohttp.ClientError, asyncio.TimeoutError)
    return isinstance(error, known)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _s3_code(error: BaseException | None) -> str | None:
    """Return the S3 error code found along the chain of causes: RGW sends no message text."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return str(code or status)
        error = error.__cause__
    return None


def _s3_stat(info: dict[str, Any]) -> ObjectStat:
    etag = str(info.get("ETag", "")).strip('"')
    return ObjectStat(uri=f"s3://{info['name']}", size=int(info["size"]), etag=etag)


def _local_stat(path: Path) -> ObjectStat:
    status = path.stat()
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectStat(uri=str(path.absolute()), size=status.st_size, etag=etag)


def _link_into_place(path: Path, data: bytes) -> bool:
    """Create `path` with a hard link, which fails when the name exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    with _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """Write `data` durably to a hidden file beside `path`, removed afterwards if still there."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
