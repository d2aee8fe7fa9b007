"""Every call of storage by its name, and storage pointed at a bucket, for the tests of storage."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from schemas.errors import StorageUnavailable
from schemas.storage import Storage
from support.s3 import S3Bucket

Call = Callable[[Storage, str], Any]


def use(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of the test to this bucket's server and keys."""
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)


def names(storage: Storage, folder: str, *, recursive: bool = False) -> list[str]:
    """Return the names under a folder as they are listed."""
    found = storage.list_objects(folder, recursive=recursive)
    return [item.uri.removeprefix(f"{folder}/") for item in found]


def open_and_read(storage: Storage, uri: str) -> bytes:
    """Read an object as Parquet is read."""
    with storage.open(uri) as stream:
        return stream.read()


CALLS: dict[str, Call] = {
    "stat": lambda storage, uri: storage.stat(uri),
    "exists": lambda storage, uri: storage.exists(uri),
    "list": lambda storage, uri: list(storage.list_objects(uri)),
    "glob": lambda storage, uri: storage.glob(f"{uri}/*"),
    "is_folder": lambda storage, uri: storage.is_folder(uri),
    "read": lambda storage, uri: storage.read(uri),
    "open": open_and_read,
    "create": lambda storage, uri: storage.create(uri, b"1"),
    "replace": lambda storage, uri: storage.replace(uri, b"1"),
    "delete": lambda storage, uri: storage.delete(uri),
}


def all_fail(storage: Storage, uri: str, reason: str) -> None:
    """Make every call and check that each tells of the outage within a bounded time."""
    for name, call in CALLS.items():
        began = time.monotonic()
        with pytest.raises(StorageUnavailable) as raised:
            call(storage, uri)
        assert uri in str(raised.value), name
        assert re.search(reason, str(raised.value)), name
        assert time.monotonic() - began < 5, name
