"""An object is created once, whole or not at all, and never written over."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.s3_objects import MAX_CREATE_BYTES
from schemas.storage import Storage
from support.s3 import S3Bucket
from support.storage_calls import names, use

pytestmark = pytest.mark.integration


def test_an_object_is_created_once_and_never_written_over(output: str, storage: Storage) -> None:
    uri = f"{output}/deep/down/object"

    assert storage.create(uri, b"first")
    assert not storage.create(uri, b"second")

    assert storage.read(uri) == b"first"
    assert names(storage, output, recursive=True) == ["deep/down/object"]


def test_an_empty_object_can_be_created_and_counts_as_there(output: str, storage: Storage) -> None:
    assert storage.create(f"{output}/_SUCCESS", b"")

    assert not storage.create(f"{output}/_SUCCESS", b"")
    assert storage.stat(f"{output}/_SUCCESS").size == 0


def test_of_many_that_race_to_create_an_object_on_disk_one_wins(tmp_path: Path) -> None:
    for number in range(20):
        race([Storage() for _ in range(8)], str(tmp_path / f"object-{number}"))


def test_of_many_that_race_to_create_an_object_on_s3_one_wins(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    storages = [Storage() for _ in range(2)]
    for number in range(5):
        race(storages * 4, ceph_bucket.key_uri(f"object-{number}"))


def race(storages: Sequence[Storage], uri: str) -> None:
    bodies = [str(number).encode() * 100_000 for number in range(8)]
    for storage in storages:
        storage.exists(uri)  # connects
    start = threading.Barrier(len(bodies))

    def create(number: int) -> bool:
        start.wait()
        return storages[number].create(uri, bodies[number])

    with ThreadPoolExecutor(len(bodies)) as pool:
        won = list(pool.map(create, range(len(bodies))))

    assert won.count(True) == 1
    assert storages[0].read(uri) == bodies[won.index(True)]


def test_an_object_too_large_for_one_request_is_refused_with_advice(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_bucket, monkeypatch)
    data = bytes(MAX_CREATE_BYTES + 1)

    with pytest.raises(UsageError, match="--chunk-rows"):
        Storage().create(s3_bucket.key_uri("object"), data)


def test_an_object_above_the_usual_part_size_is_created_once_too(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3fs would send it in parts, whose completion Ceph does not make conditional."""
    use(ceph_bucket, monkeypatch)
    storage, uri = Storage(), ceph_bucket.key_uri("object")

    assert storage.create(uri, bytes(60_000_000))
    assert not storage.create(uri, b"1" * 60_000_000)

    with storage.open(uri) as stream:
        assert stream.read(3) == b"\0\0\0"
