"""Objects on S3, through s3fs: conditional writes where the store knows them."""

# ruff: noqa: D102 (`Storage` says what each method promises)

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from schemas.errors import InputMissing, UsageError
from schemas.locations import bucket_and_key, s3_path
from schemas.objects import ObjectStat
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


class S3Objects:
    """Objects below `s3://bucket`."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._conditional = True  # until the store says that it knows no conditional PUT
        self._compares = True  # until it says that it knows no PUT that depends on the ETag

    @cached_property
    def fs(self) -> Any:
        """The s3fs file system, made at first use."""
        return connect_s3(self._settings, retries=self._settings.s3_retries)

    def stat(self, uri: str) -> ObjectStat:
        bucket, key = bucket_and_key(uri)
        with translated(uri):
            head = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        return _stat(uri, head["ContentLength"], head["ETag"])

    def list_objects(self, uri: str, *, recursive: bool) -> Iterator[ObjectStat]:
        bucket, _ = bucket_and_key(uri)
        for page in self._pages(uri, delimiter="" if recursive else "/"):
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):
                    place = f"s3://{bucket}/{found['Key']}"
                    yield _stat(place, found["Size"], found["ETag"], found["LastModified"])

    def list_folders(self, uri: str) -> list[str]:
        bucket, _ = bucket_and_key(uri)
        pages = self._pages(uri, delimiter="/")
        prefixes = (p["Prefix"] for page in pages for p in page.get("CommonPrefixes", ()))
        # S3 sorts them with their slash: `a b/` before `a/`.
        return sorted(f"s3://{bucket}/{prefix.rstrip('/')}" for prefix in prefixes)

    def _pages(self, uri: str, *, delimiter: str) -> Iterator[dict[str, Any]]:
        """Yield a listing page by page, so that a million objects need no memory."""
        bucket, key = bucket_and_key(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        request = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter}
        page: dict[str, Any] = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            token = page["NextContinuationToken"]
            following = {"ContinuationToken": token} if token else {}
            page = self.fs.call_s3("list_objects_v2", **request, **following)
            yield page

    def glob(self, pattern: str) -> list[ObjectStat]:
        found = self.fs.glob(s3_path(pattern), detail=True)
        return [_details(i) for _, i in sorted(found.items()) if i["type"] == "file"]

    def is_folder(self, uri: str) -> bool:
        return bool(self.fs.isdir(s3_path(uri)))

    def open(self, uri: str) -> BinaryIO:
        """Open for ranged reads, each of which tells S3 the ETag."""
        stream = self.fs.open(s3_path(uri), "rb", cache_type="none")
        if stream.details["type"] != "file":
            raise InputMissing(f"{uri} is a folder, not an object")
        return cast("BinaryIO", stream)

    def opened(self, uri: str, stream: Any) -> ObjectStat:
        return _details(stream.details)

    def read(self, uri: str) -> bytes:
        return bytes(self.fs.cat_file(s3_path(uri)))

    def read_ranges(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes | Exception]:
        """Read many at a time."""
        uris, starts, ends = zip(*ranges, strict=True)
        paths = [s3_path(uri) for uri in uris]
        return list(self.fs.cat_ranges(paths, list(starts), list(ends), on_error="return"))

    def create(self, uri: str, data: bytes) -> bool:
        if len(data) > MAX_CREATE_BYTES:
            raise UsageError(
                f"{uri} would be {len(data)} bytes, above the {MAX_CREATE_BYTES} that can be "
                "created in one request: use smaller chunks (--chunk-rows)"
            )
        with contextlib.suppress(InputMissing):
            self.stat(uri)
            return False
        return self._put_new(uri, data)

    def creates_once(self, uri: str) -> bool:
        return not self._put_new(uri, b"")

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

    def replace(self, uri: str, data: bytes) -> None:
        self._put(uri, data)

    def read_tagged(self, uri: str) -> tuple[bytes, str]:
        etag = self.stat(uri).etag  # asked first: an older one than the content moves nothing
        return self.read(uri), etag

    def replace_if(self, uri: str, data: bytes, tag: str) -> bool:
        if self.stat(uri).etag != tag:
            return False
        return self._put_over(uri, data, tag) or self.read(uri) == data

    def swaps(self, uri: str) -> bool:
        return not self._put_over(uri, b"", "0" * 32)

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

    def _put(self, uri: str, data: bytes, **options: Any) -> None:
        limit = upload_seconds(self._settings, len(data))
        self.fs.pipe_file(s3_path(uri), data, timeout=limit, **options)

    def upload(self, source: Path, uri: str) -> None:
        limit = upload_seconds(self._settings, source.stat().st_size)
        self.fs.put_file(
            str(source), s3_path(uri), timeout=limit, max_concurrency=UPLOAD_PARTS_AT_ONCE
        )

    def delete(self, uri: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(s3_path(uri))

    def delete_folder(self, uri: str) -> None:
        for stat in list(self.list_objects(uri, recursive=True)):
            self.delete(stat.uri)

    def remove_leftovers(self, uri: str) -> int:
        """Return 0: S3 shows nothing of a writer that was killed."""
        return 0

    def probe(self, uri: str, *, room: int) -> None:
        bucket, _ = bucket_and_key(uri)
        quick = self._settings.model_copy(
            update={
                "s3_connect_timeout_seconds": PROBE_CONNECT_SECONDS,
                "s3_read_timeout_seconds": PROBE_READ_SECONDS,
            }
        )
        endpoint = f" (endpoint {self._settings.s3_endpoint_url or 'of AWS'})"
        with translated(f"s3://{bucket}", hint=endpoint):
            connect_s3(quick, retries=1).call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)


def _stat(uri: str, size: int, etag: str, modified: datetime | None = None) -> ObjectStat:
    return ObjectStat(uri=uri, size=size, etag=etag.strip('"'), modified=modified)


def _details(details: dict[str, Any]) -> ObjectStat:
    return _stat(f"s3://{details['name']}", details["size"], details["ETag"])
