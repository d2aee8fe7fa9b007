"""Objects behave alike on disk and on S3: whole or not at all, created once, replaced at once."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from schemas.errors import (
    BulkError,
    InputChanged,
    InputMissing,
    StorageFull,
    StorageUnavailable,
    UsageError,
)
from schemas.s3_objects import MAX_CREATE_BYTES
from schemas.storage import Storage
from support.flaky_s3 import flaky_gateway
from support.s3 import S3Bucket

pytestmark = pytest.mark.integration

ODD_NAMES = (
    "two words",
    "100%",
    "100%25",
    "a+b",
    "a&b=c",
    "part#2?x=3",
    "[x]*{y}",
    'it\'s "quoted"',
    "back\\slash",
    "colon:semi;colon,comma",
    "ünïcödé",
    "很好",
    "🙂",
    "-dash",
    ".hidden",
    "~tilde",
    "trailing.",
    "<tag>",
)


def names(storage: Storage, folder: str, *, recursive: bool = False) -> list[str]:
    """Return the names under a folder as they are listed."""
    found = storage.list_objects(folder, recursive=recursive)
    return [item.uri.removeprefix(f"{folder}/") for item in found]


# Creating once


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


def test_a_full_disk_is_an_outage_that_leaves_nothing_behind(
    small_disk: Path, storage: Storage
) -> None:
    uri = str(small_disk / "object")
    storage.replace(uri, b"old")

    with pytest.raises(StorageFull, match="No space left"):
        storage.create(f"{uri}-2", bytes(5_000_000))
    with pytest.raises(StorageFull, match="No space left"):
        storage.replace(uri, bytes(5_000_000))
    with pytest.raises(StorageFull, match="No space left"):
        storage.probe(f"{uri}-2", room=5_000_000)
    storage.probe(f"{uri}-2", room=1_000)

    assert os.listdir(small_disk) == ["object"]
    assert storage.read(uri) == b"old"
    assert storage.create(f"{uri}-2", b"fits")


def test_a_file_that_may_not_grow_so_large_leaves_nothing_behind(
    tmp_path: Path, storage: Storage
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageUnavailable, match="File too large"):
            storage.create(str(tmp_path / "object"), bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["fsync", "link"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_quota_that_is_noticed_late_leaves_nothing_behind(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """A quota need not be told at the write: NFS tells it when the file is synced."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(StorageFull):
            storage.create(str(tmp_path / "object"), b"1")

    assert os.listdir(tmp_path) == []
    assert storage.create(str(tmp_path / "object"), b"1")


def test_content_and_name_are_on_the_disk_before_an_object_counts_as_created(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link, replace = os.fsync, os.link, Path.replace

    def note_sync(descriptor: int) -> None:
        fsync(descriptor)
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")

    def note_link(source: Path, target: Path) -> None:
        link(source, target)
        steps.append("name")

    def note_replace(source: Path, target: Path) -> Path:
        steps.append("name")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "link", note_link)
    monkeypatch.setattr(Path, "replace", note_replace)
    storage.create(str(tmp_path / "object"), b"1")
    storage.replace(str(tmp_path / "object"), b"2")

    assert steps == ["content", "name", "folder"] * 2


def test_a_writer_that_is_killed_leaves_a_hidden_file_that_is_removed_when_it_is_old(
    tmp_path: Path, storage: Storage
) -> None:
    storage.create(str(tmp_path / "part-000000.parquet"), b"1")
    program = (
        "import os, signal; from schemas.storage import Storage\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"Storage().create('{tmp_path}/part-000001.parquet', bytes(1000))"
    )

    killed = subprocess.run([sys.executable, "-c", program], timeout=60)

    assert killed.returncode == -signal.SIGKILL
    (leftover,) = tmp_path.glob(".*.tmp")
    seen = ds.dataset(tmp_path, schema=pa.schema([]), format="parquet").files
    assert seen == [str(tmp_path / "part-000000.parquet")]
    assert storage.remove_leftovers(str(tmp_path)) == 0  # its writer could be alive
    os.utime(leftover, (time.time() - 4_000,) * 2)
    assert storage.remove_leftovers(str(tmp_path.parent)) == 1
    assert os.listdir(tmp_path) == ["part-000000.parquet"]
    assert storage.create(str(tmp_path / "part-000001.parquet"), b"2")


def test_a_folder_that_is_removed_while_it_is_written_to_may_be_there_again(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link = tmp_path / "folder", os.link

    def remove_first(source: Path, target: Path) -> None:
        shutil.rmtree(folder)
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", remove_first)
        with pytest.raises(StorageUnavailable, match="was removed"):
            storage.create(str(folder / "object"), b"1")

    assert storage.create(str(folder / "object"), b"1")


# Replacing


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


# Reading


def test_what_has_a_size_and_an_etag_is_there(output: str, storage: Storage) -> None:
    uri = f"{output}/object"
    assert not storage.exists(uri)
    storage.create(uri, b"12345")

    found = storage.stat(uri)

    assert (found.uri, found.size) == (uri, 5)
    assert found.etag
    assert storage.exists(uri)
    assert list(storage.list_objects(output)) == [found]


def test_a_folder_is_no_object(output: str, storage: Storage) -> None:
    storage.create(f"{output}/folder/object", b"1")

    assert storage.is_folder(f"{output}/folder")
    assert not storage.is_folder(f"{output}/folder/object")
    assert not storage.is_folder(f"{output}/nothing")
    assert not storage.exists(f"{output}/folder")
    for read in (storage.stat, storage.read):
        with pytest.raises(InputMissing, match=f"{output}/folder"):
            read(f"{output}/folder")
    with pytest.raises(InputMissing), storage.open(f"{output}/folder"):
        pytest.fail("a folder was opened")


def test_a_range_of_an_object_is_read_without_the_rest(output: str, storage: Storage) -> None:
    uri = f"{output}/object"
    storage.create(uri, bytes(range(256)) * 1_000)

    with storage.open(uri, expected=storage.stat(uri)) as stream:
        stream.seek(100_096)
        assert stream.read(4) == bytes([0, 1, 2, 3])
        stream.seek(-2, os.SEEK_END)
        assert stream.read() == bytes([254, 255])


def test_ranges_of_many_objects_are_read_at_once_and_an_error_stands_in_its_place(
    output: str, storage: Storage
) -> None:
    for number in range(20):
        storage.create(f"{output}/{number}", f"object {number:02}".encode())

    found = storage.read_ranges(
        [
            *((f"{output}/{number}", 7, 9) for number in range(20)),
            (f"{output}/nothing", 0, 4),
            (f"{output}/3", 0, 0),
            (f"{output}/4", 7, 1_000),
        ]
    )

    assert found[:20] == [f"{number:02}".encode() for number in range(20)]
    assert isinstance(found[20], InputMissing)
    assert found[21:] == [b"", b"04"]


def test_an_object_changed_since_the_plan_is_not_opened(output: str, storage: Storage) -> None:
    uri = f"{output}/input.parquet"
    storage.create(uri, b"planned")
    planned = storage.stat(uri)
    storage.replace(uri, b"changed")

    with (
        pytest.raises(InputChanged, match="changed since the job was planned"),
        storage.open(uri, expected=planned),
    ):
        pytest.fail("a changed object was opened")


def test_an_object_replaced_while_it_is_read_never_mixes_old_and_new(
    output: str, storage: Storage
) -> None:
    uri = f"{output}/input.parquet"
    storage.create(uri, b"a" * 100_000)
    planned = storage.stat(uri)
    seen = b""

    with contextlib.suppress(InputChanged), storage.open(uri, expected=planned) as stream:
        seen += stream.read(10)
        storage.replace(uri, b"b" * 100_000)
        stream.seek(50_000)
        seen += stream.read(10)

    assert set(seen) == {ord("a")}


def test_a_local_file_written_over_in_place_while_it_is_read_is_found_out(
    tmp_path: Path, storage: Storage
) -> None:
    file = tmp_path / "input.parquet"
    file.write_bytes(b"a" * 1_000)
    planned = storage.stat(str(file))

    with pytest.raises(InputChanged), storage.open(str(file), expected=planned):
        file.write_bytes(b"b" * 1_001)


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


# Compare and swap


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


# Uploading


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


# Names


def test_names_with_every_awkward_character_survive(output: str, storage: Storage) -> None:
    for name in ODD_NAMES:
        assert storage.create(f"{output}/{name}", name.encode()), name

    assert sorted(names(storage, output)) == sorted(ODD_NAMES)
    for name in ODD_NAMES:
        uri = f"{output}/{name}"
        assert storage.read(uri) == name.encode()
        assert storage.stat(uri).uri == uri
        with storage.open(uri, expected=storage.stat(uri)) as stream:
            assert stream.read() == name.encode()
        assert storage.read_ranges([(uri, 0, 1_000)]) == [name.encode()]
        storage.replace(uri, b"new")
        storage.delete(uri)
    assert names(storage, output) == []


def test_awkward_names_survive_on_a_real_server(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    test_names_with_every_awkward_character_survive(ceph_bucket.key_uri("a b/ü"), Storage())


def test_a_folder_is_listed_by_name_and_alone(output: str, storage: Storage) -> None:
    for name in ("b", "a", "sub/c", "sub/sub/d", "B"):
        storage.create(f"{output}/{name}", b"1")
    storage.create(f"{output}2/e", b"1")

    assert names(storage, output) == ["B", "a", "b"]
    assert names(storage, f"{output}/sub") == ["c"]
    assert sorted(names(storage, output, recursive=True)) == ["B", "a", "b", "sub/c", "sub/sub/d"]
    assert names(storage, f"{output}/nothing") == []
    assert names(storage, f"{output}/a") == []


def test_a_listing_of_more_than_one_page_is_whole(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_bucket, monkeypatch)
    storage = Storage()
    paths = [f"{s3_bucket.name}/many/{number:04}" for number in range(1_050)]
    storage.s3.pipe(dict.fromkeys(paths, b"1"))

    assert names(storage, s3_bucket.key_uri("many")) == [f"{n:04}" for n in range(1_050)]


def test_the_folders_in_a_folder_are_listed_by_name_and_without_theirs(
    output: str, storage: Storage
) -> None:
    for name in ("b=2/x", "a/x/y", "file", "_hidden/x", "a b/x"):
        storage.create(f"{output}/{name}", b"1")
    storage.create(f"{output}2/other/x", b"1")

    expected = [f"{output}/{name}" for name in ("_hidden", "a", "a b", "b=2")]
    assert storage.list_folders(output) == expected
    assert storage.list_folders(f"{output}/a/x") == []
    assert storage.list_folders(f"{output}/nothing") == []


def test_a_listing_of_more_folders_than_a_page_holds_is_whole(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_bucket, monkeypatch)
    storage = Storage()
    paths = [f"{s3_bucket.name}/many/{number:04}/x" for number in range(1_050)]
    storage.s3.pipe(dict.fromkeys(paths, b"1"))

    found = storage.list_folders(s3_bucket.key_uri("many"))

    assert found == [s3_bucket.key_uri(f"many/{n:04}") for n in range(1_050)]


PATTERNS = {
    "*.parquet": ["a1.parquet", "a2.parquet", "b1.parquet"],
    "a?.parquet": ["a1.parquet", "a2.parquet"],
    "[ab]1.parquet": ["a1.parquet", "b1.parquet"],
    "**/*.parquet": ["a1.parquet", "a2.parquet", "b1.parquet", "sub/c1.parquet"],
    "*/*.parquet": ["sub/c1.parquet"],
    "a1.parquet": ["a1.parquet"],
    "nothing*": [],
    "s*": [],
}


def test_a_pattern_finds_the_same_on_disk_and_on_s3(output: str, storage: Storage) -> None:
    for name in ("a1.parquet", "a2.parquet", "b1.parquet", "notes.txt", "sub/c1.parquet"):
        storage.create(f"{output}/{name}", b"1")

    for pattern, expected in PATTERNS.items():
        found = storage.glob(f"{output}/{pattern}")
        assert [item.uri for item in found] == [f"{output}/{name}" for name in expected], pattern
        assert all(storage.stat(item.uri) == item for item in found)


def test_a_path_a_file_uri_and_a_home_folder_name_the_same_object(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    storage.create(str(tmp_path / "two words"), b"1")

    for uri in ("two words", f"file://{tmp_path}/two%20words", "~/two words"):
        assert storage.stat(uri).uri == str(tmp_path / "two words")


def test_a_path_that_leads_through_a_file_is_told(tmp_path: Path, storage: Storage) -> None:
    storage.create(str(tmp_path / "file"), b"1")

    assert not storage.exists(str(tmp_path / "file" / "below"))
    with pytest.raises(BulkError, match="file/below"):
        storage.create(str(tmp_path / "file" / "below"), b"2")


def test_a_version_of_an_object_cannot_be_asked_for(storage: Storage) -> None:
    for ask in (storage.read, storage.stat, storage.exists):
        with pytest.raises(UsageError, match="by their key alone"):
            ask("s3://bucket/key?versionId=3")


def use(bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.env.items():
        monkeypatch.setenv(name, value)
