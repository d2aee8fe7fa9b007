"""Objects are replaced at once, uploaded whole, and deleted."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import StorageFull
from schemas.storage import Storage
from support.storage_calls import names

pytestmark = pytest.mark.integration


def test_a_replaced_object_has_the_new_content_and_another_etag(
    output: str, storage: Storage
) -> None:
    uri = f"{output}/summary.json"
    storage.replace(uri, b"one")
    before = storage.stat(uri)

    storage.replace(uri, b"two")

    assert storage.read(uri) == b"two"
    assert storage.stat(uri).size == before.size
    assert storage.stat(uri).etag != before.etag


def test_a_reader_sees_the_old_or_the_new_object_whole(output: str, storage: Storage) -> None:
    uri = f"{output}/summary.json"
    whole = {b"a" * 100_000, b"b" * 200_000}
    storage.replace(uri, b"a" * 100_000)
    written: list[bytes] = []
    stop = threading.Event()

    def write() -> None:
        writer = Storage()
        while not stop.is_set():
            written.append(b"ab"[len(written) % 2 : len(written) % 2 + 1])
            writer.replace(uri, written[-1] * (100_000 if written[-1] == b"a" else 200_000))

    seen = []
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while len(written) < 12 and not writing.done():
            seen.append(storage.read(uri))
        stop.set()
        writing.result()
    assert set(seen) <= whole


def test_what_is_deleted_is_gone_and_may_be_deleted_again(output: str, storage: Storage) -> None:
    uri = f"{output}/object"
    storage.create(uri, b"1")

    storage.delete(uri)
    storage.delete(uri)

    assert not storage.exists(uri)
    assert storage.create(uri, b"2")


def test_a_folder_is_deleted_with_all_that_lies_in_it(output: str, storage: Storage) -> None:
    for name in ("gone/a", "gone/deep/.hidden", "kept"):
        storage.create(f"{output}/{name}", b"1")

    storage.delete_folder(f"{output}/gone")
    storage.delete_folder(f"{output}/gone")

    assert names(storage, output, recursive=True) == ["kept"]
    assert not storage.is_folder(f"{output}/gone")


@pytest.mark.parametrize("size", [0, 1_000, 120_000_000], ids=["empty", "small", "in parts"])
def test_a_file_of_any_size_is_uploaded_whole(
    output: str, storage: Storage, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "weights"
    with source.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"end")
    uri = f"{output}/deep/weights"

    storage.upload(source, uri)
    storage.upload(source, uri)

    assert storage.stat(uri).size == size + 3
    with storage.open(uri) as stream:
        stream.seek(size)
        assert stream.read() == b"end"
    assert names(storage, f"{output}/deep") == ["weights"]


def test_an_upload_that_finds_the_disk_full_leaves_nothing(
    small_disk: Path, storage: Storage, tmp_path: Path
) -> None:
    source = tmp_path / "weights"
    source.write_bytes(bytes(8_000_000))

    with pytest.raises(StorageFull):
        storage.upload(source, str(small_disk / "weights"))

    assert list(small_disk.iterdir()) == []
