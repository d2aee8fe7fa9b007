"""Objects are read whole or in ranges, and never a mixture of old and new."""

import contextlib
import os

import pytest

from schemas.errors import InputChanged, InputMissing
from schemas.storage import Storage

pytestmark = pytest.mark.integration


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
