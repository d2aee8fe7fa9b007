"""What is not there, or is refused, is told in our own words."""

import os
from pathlib import Path

import pytest

from schemas.errors import AccessDenied, BulkError, InputMissing, StorageUnavailable, UsageError
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support.s3 import S3Bucket
from support.storage_calls import CALLS, use

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["read", "stat", "open"])
def test_a_missing_key_is_a_missing_input(output: str, storage: Storage, name: str) -> None:
    with pytest.raises(InputMissing, match="does not exist") as raised:
        CALLS[name](storage, f"{output}/nothing")
    assert f"{output}/nothing" in str(raised.value)


@pytest.mark.parametrize("name", ["list", "create", "replace"])
def test_a_missing_bucket_is_named(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use(s3_bucket, monkeypatch)

    with pytest.raises(InputMissing, match="s3://no-such-bucket/folder does not exist"):
        CALLS[name](Storage(), "s3://no-such-bucket/folder")


def test_a_missing_bucket_is_found_out_by_the_probe(
    each_s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(each_s3_bucket, monkeypatch)
    Storage().probe(each_s3_bucket.key_uri("anything"))

    with pytest.raises(InputMissing, match="s3://no-such-bucket does not exist"):
        Storage().probe("s3://no-such-bucket/anything")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("uri", ["s3://A_B/key", "s3://b/key", "s3://bucket/" + "k" * 1_100])
def test_what_s3_cannot_have_is_refused(s3_bucket: S3Bucket, uri: str) -> None:
    storage = Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))

    with pytest.raises(BulkError) as raised:
        storage.create(uri, b"1")
    assert not isinstance(raised.value, StorageUnavailable)


def test_a_wrong_secret_is_denied_to_every_call(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage = Storage()

    for call in CALLS.values():
        with pytest.raises(AccessDenied, match="access denied"):
            call(storage, ceph_bucket.key_uri("object"))


def test_a_wrong_secret_is_found_out_by_the_probe_with_the_endpoint(
    ceph_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(ceph_bucket, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")

    with pytest.raises(AccessDenied, match=ceph_bucket.endpoint_url):
        Storage().probe(ceph_bucket.uri)


def test_missing_credentials_are_told_with_the_variables_to_set(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    storage = Storage(StorageSettings(s3_endpoint_url=s3_bucket.endpoint_url))

    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        storage.stat(s3_bucket.key_uri("object"))


def test_a_folder_without_permission_is_denied(tmp_path: Path, storage: Storage) -> None:
    tmp_path.chmod(0o500)
    folder = "/sys/kernel" if os.geteuid() == 0 else str(tmp_path)  # the kernel refuses root too

    with pytest.raises(AccessDenied, match="access denied"):
        storage.create(f"{folder}/bulkscore", b"1")


def test_a_key_that_is_too_long_for_the_disk_is_bad_usage(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        storage.create(str(tmp_path / ("k" * 300)), b"1")
