"""What is written to a disk is there whole, or nothing of it is, whatever the disk does."""

import errno
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from schemas.errors import BulkError, InputChanged, StorageFull, StorageUnavailable
from schemas.storage import Storage

pytestmark = pytest.mark.integration


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


def test_a_local_file_written_over_in_place_while_it_is_read_is_found_out(
    tmp_path: Path, storage: Storage
) -> None:
    file = tmp_path / "input.parquet"
    file.write_bytes(b"a" * 1_000)
    planned = storage.stat(str(file))

    with pytest.raises(InputChanged), storage.open(str(file), expected=planned):
        file.write_bytes(b"b" * 1_001)


def test_a_path_that_leads_through_a_file_is_told(tmp_path: Path, storage: Storage) -> None:
    storage.create(str(tmp_path / "file"), b"1")

    assert not storage.exists(str(tmp_path / "file" / "below"))
    with pytest.raises(BulkError, match="file/below"):
        storage.create(str(tmp_path / "file" / "below"), b"2")
