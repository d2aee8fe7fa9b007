"""Folders are listed and patterns found alike on disk and on S3."""

import pytest

from schemas.storage import Storage
from support.s3 import S3Bucket
from support.storage_calls import names, use

pytestmark = pytest.mark.integration


def test_a_folder_is_listed_by_name_and_alone(output: str, storage: Storage) -> None:
    for name in ("b", "a", "sub/c", "sub/sub/d", "B"):
        storage.create(f"{output}/{name}", b"1")
    storage.create(f"{output}2/e", b"1")

    assert names(storage, output) == ["B", "a", "b"]
    assert names(storage, f"{output}/sub") == ["c"]
    assert sorted(names(storage, output, recursive=True)) == ["B", "a", "b", "sub/c", "sub/sub/d"]
    assert names(storage, f"{output}/nothing") == []
    assert names(storage, f"{output}/a") == []


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


def test_a_listing_of_more_than_a_page_holds_is_whole(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_bucket, monkeypatch)
    storage, folder = Storage(), s3_bucket.key_uri("many")
    folders = [f"{number:04}" for number in range(1_050)]
    storage.s3.pipe({f"{s3_bucket.name}/many/{name}/x": b"1" for name in folders})

    assert storage.list_folders(folder) == [f"{folder}/{name}" for name in folders]
    assert names(storage, folder, recursive=True) == [f"{name}/x" for name in folders]


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
