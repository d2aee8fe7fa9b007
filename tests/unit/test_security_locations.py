"""Where a job may point to: nothing is climbed, chained or reached outside what is allowed."""

from pathlib import Path

import pytest

from schemas import layout
from schemas.errors import LocationRefused, ManifestMissing, MessageInvalid, UsageError
from schemas.locations import is_s3, require_allowed
from schemas.manifest import MAX_MANIFEST_BYTES, read_manifest
from schemas.message import parse_message
from schemas.settings import StorageSettings
from schemas.storage import Storage


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://bucket/../other/key", "without . and .."),
        ("s3://bucket/a/./b", "without . and .."),
        ("s3://bucket/key\0", "control characters"),
        ("s3://bucket/a\r\nHost: x", "control characters"),
        ("/data/a\x1b[2J", "control characters"),
        ("simplecache::s3://bucket/key", "cannot be chained"),
        ("zip://a.parquet::s3://bucket/key", "unknown scheme 'zip'"),
        ("http://169.254.169.254/latest", "unknown scheme 'http'"),
        ("file://other.host/etc/passwd", "names the host"),
    ],
)
def test_what_is_no_plain_location_is_refused(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Storage().exists(uri)


def test_names_with_dots_are_names() -> None:
    assert is_s3("s3://bucket/..a/b../v1.0/...")


def test_only_what_lies_below_an_allowed_location_is_allowed(tmp_path: Path) -> None:
    for below in ("inside", "outside"):
        (tmp_path / below).mkdir()
        (tmp_path / below / "a").write_text("a")
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    allowed = ("s3://corpora/2026", str(tmp_path / "inside"))

    for uri in ("s3://corpora/2026", "s3://corpora/2026/a/b", f"file://{tmp_path}/inside/a"):
        require_allowed(uri, allowed)
    for uri in (
        *("s3://corpora", "s3://corpora/2026-secret/a", "s3://other/corpora/2026"),
        *(f"{tmp_path}/inside/../outside/a", f"{tmp_path}/inside/link/a", f"{tmp_path}/inside2"),
    ):
        with pytest.raises(LocationRefused, match="BULKSCORE_ALLOWED_URIS"):
            require_allowed(uri, allowed)


def test_the_door_to_objects_keeps_to_them(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    storage = Storage(StorageSettings(allowed_uris=f"{tmp_path}/allowed, s3://corpora/"))
    outside = str(tmp_path / "other" / "a")

    assert storage.create(str(tmp_path / "allowed" / "a"), b"a")
    for use in (
        lambda: storage.read(outside),
        lambda: storage.exists(outside),
        lambda: storage.create(outside, b""),
        lambda: storage.replace(outside, b""),
        lambda: storage.upload(tmp_path / "allowed" / "a", outside),
        lambda: storage.delete_folder(outside),
        lambda: storage.glob(f"{tmp_path}/*/a"),
        lambda: list(storage.list_objects(str(tmp_path), recursive=True)),
        lambda: storage.list_folders(str(tmp_path)),
        lambda: storage.read_ranges([(outside, 0, 1)]),
        lambda: storage.probe("s3://elsewhere/a"),
        lambda: storage.open(outside).__enter__(),
    ):
        with pytest.raises(LocationRefused):
            use()
    assert not (tmp_path / "other").exists()
    assert storage.for_own_files.create(outside, b"")


def test_a_manifest_is_not_read_whatever_its_size(tmp_path: Path) -> None:
    place = Path(layout.manifest(str(tmp_path)))
    place.parent.mkdir()
    with place.open("wb") as stream:
        stream.truncate(MAX_MANIFEST_BYTES + 1)  # a hole, no bytes on disk
    with pytest.raises(ManifestMissing, match="more than the"):
        read_manifest(Storage(), str(tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        {"job_id": "a", "chunk": 0, "generation": 0, "endpoint_url": "http://169.254.169.254"},
        {"job_id": "../a", "chunk": 0, "generation": 0},
        {"job_id": "a" * 64, "chunk": 0, "generation": 0},
        {"job_id": "a", "chunk": 2**40, "generation": 0},
        ["a"],
    ],
)
def test_a_message_holds_what_we_write_and_no_more(body: object) -> None:
    with pytest.raises(MessageInvalid):
        parse_message(body)
