"""Names with awkward characters survive, and one object has one name."""

from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.storage import Storage
from support.s3 import S3Bucket
from support.storage_calls import names, use

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


def test_a_path_a_file_uri_and_a_home_folder_name_the_same_object(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    storage.create(str(tmp_path / "two words"), b"1")

    for uri in ("two words", f"file://{tmp_path}/two%20words", "~/two words"):
        assert storage.stat(uri).uri == str(tmp_path / "two words")


def test_a_version_of_an_object_cannot_be_asked_for(storage: Storage) -> None:
    for ask in (storage.read, storage.stat, storage.exists):
        with pytest.raises(UsageError, match="by their key alone"):
            ask("s3://bucket/key?versionId=3")
