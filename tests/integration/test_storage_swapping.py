"""An object is swapped only while it is the one that was read."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from schemas.errors import InputMissing
from schemas.storage import Storage
from support.flaky_s3 import flaky_gateway
from support.s3 import S3Bucket
from support.storage_calls import names, use

pytestmark = pytest.mark.integration


def test_an_object_is_swapped_only_while_it_is_the_one_that_was_read(
    output: str, storage: Storage
) -> None:
    uri = f"{output}/alias"
    storage.create(uri, b"first")
    content, tag = storage.read_tagged(uri)

    assert storage.replace_if(uri, b"other", tag)
    assert not storage.replace_if(uri, b"third", tag)

    assert content == b"first"
    assert storage.read(uri) == b"other"
    assert names(storage, output) in (["alias"], [".alias.lock", "alias"])


def test_nothing_is_swapped_where_nothing_is(output: str, storage: Storage) -> None:
    storage.create(f"{output}/other", b"1")

    with pytest.raises(InputMissing):
        storage.replace_if(f"{output}/alias", b"1", "tag")

    assert not storage.exists(f"{output}/alias")


def test_of_many_that_race_to_swap_an_object_on_disk_one_wins(tmp_path: Path) -> None:
    for number in range(20):
        race_to_swap([Storage() for _ in range(8)], str(tmp_path / f"alias-{number}"))


def test_of_many_that_race_to_swap_an_object_on_s3_one_wins(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    storages = [Storage() for _ in range(2)]
    assert storages[0].create(ceph_bucket.key_uri("probe"), b"1")
    assert storages[0].swaps(ceph_bucket.key_uri("probe"))
    for number in range(5):
        race_to_swap(storages * 4, ceph_bucket.key_uri(f"alias-{number}"))


def race_to_swap(storages: Sequence[Storage], uri: str) -> None:
    storages[0].create(uri, b"before")
    _, tag = storages[0].read_tagged(uri)
    start = threading.Barrier(len(storages))

    def swap(number: int) -> bool:
        start.wait()
        return storages[number].replace_if(uri, str(number).encode(), tag)

    with ThreadPoolExecutor(len(storages)) as pool:
        won = list(pool.map(swap, range(len(storages))))

    assert won.count(True) == 1
    assert storages[0].read(uri) == str(won.index(True)).encode()


def test_a_swap_whose_answer_was_lost_is_known_to_have_gone_through(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_bucket, monkeypatch)
    uri = s3_bucket.key_uri("alias")
    with flaky_gateway(s3_bucket) as gateway:
        monkeypatch.setenv("BULKSCORE_S3_ENDPOINT_URL", gateway.url)
        storage = Storage()
        storage.create(uri, b"before")
        _, tag = storage.read_tagged(uri)
        gateway.loses = lambda method, _path: method == "PUT" and gateway.lost == 0

        assert storage.replace_if(uri, b"after", tag)

        assert gateway.lost == 1
        assert storage.read(uri) == b"after"


@pytest.mark.parametrize("if_match", ["ignored", "refused"])
def test_a_store_that_cannot_compare_is_looked_at_before_a_swap(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, if_match: Literal["ignored", "refused"]
) -> None:
    use(s3_bucket, monkeypatch)
    uri = s3_bucket.key_uri("alias")
    with flaky_gateway(s3_bucket) as gateway:
        gateway.if_match = if_match
        monkeypatch.setenv("BULKSCORE_S3_ENDPOINT_URL", gateway.url)
        storage = Storage()
        storage.create(uri, b"first")
        _, tag = storage.read_tagged(uri)

        assert storage.replace_if(uri, b"second", tag)
        assert not storage.replace_if(uri, b"third", tag)

        assert storage.read(uri) == b"second"
        assert not storage.swaps(uri)
