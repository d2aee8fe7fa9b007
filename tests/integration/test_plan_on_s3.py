"""Finding files, reading footers and creating a job on S3, on a quick server and on a real one."""

import threading
from pathlib import Path

import pytest

from producer.corpus import find_files
from producer.footers import TAIL_BYTES, read_footers
from producer.manifest import create_job
from schemas.errors import InputCorrupt, InputMissing, OutputTaken, StorageUnavailable
from schemas.job import JobSpec, Manifest
from schemas.manifest import read_chunks, read_manifest
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support import corpora
from support.daemon import free_port
from support.s3 import S3Bucket
from support.stored_jobs import model_pin

pytestmark = pytest.mark.integration

MODEL = model_pin()


@pytest.fixture
def bucket(each_s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    for name, value in each_s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    return each_s3_bucket


def upload(bucket: S3Bucket, folder: Path) -> None:
    filesystem = bucket.filesystem()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            filesystem.pipe_file(f"{bucket.name}/{path.relative_to(folder)}", path.read_bytes())


def names(bucket: S3Bucket, *inputs: str) -> list[str]:
    return [f.uri.removeprefix(f"{bucket.uri}/") for f in find_files(Storage(), inputs)]


def test_files_folders_and_globs_are_found_as_on_disk(bucket: S3Bucket, tmp_path: Path) -> None:
    for name in ("c/a.parquet", "c/day=1/b.pq", "c/_x/d.parquet", "c/.e.parquet", "cc/f.parquet"):
        corpora.write_corpus(tmp_path / name, rows=5)
    upload(bucket, tmp_path)

    assert names(bucket, f"{bucket.uri}/c") == ["c/a.parquet", "c/day=1/b.pq"]
    assert names(bucket, f"{bucket.uri}/c/") == ["c/a.parquet", "c/day=1/b.pq"]
    assert names(bucket, f"{bucket.uri}/c/a.parquet", bucket.uri) == [
        "c/a.parquet",
        "c/day=1/b.pq",
        "cc/f.parquet",
    ]
    assert names(bucket, f"{bucket.uri}/c*/*.parquet") == ["c/a.parquet", "cc/f.parquet"]
    assert names(bucket, f"{bucket.uri}/**/*.p*q*") == [
        "c/a.parquet",
        "c/day=1/b.pq",
        "cc/f.parquet",
    ]


@pytest.mark.parametrize("given", ["nowhere", "nowhere/a.parquet", "*.parquet", "a.parq"])
def test_what_is_not_there_is_named(bucket: S3Bucket, given: str) -> None:
    bucket.filesystem().pipe_file(f"{bucket.name}/a.parquet.txt", b"x")

    with pytest.raises(InputMissing) as caught:
        find_files(Storage(), [f"{bucket.uri}/{given}"])

    assert given in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(bucket: S3Bucket) -> None:
    with pytest.raises(InputMissing, match="no-such-bucket-of-ours"):
        find_files(Storage(), ["s3://no-such-bucket-of-ours/x.parquet"])


def test_footers_are_those_of_the_same_files_on_disk(bucket: S3Bucket, tmp_path: Path) -> None:
    corpora.write_many_files(tmp_path / "corpus", files=40)
    large = corpora.write_one_row_row_groups(tmp_path / "corpus" / "large.parquet", rows=400)
    corpora.write_row_groups(tmp_path / "corpus" / "none.parquet", [])
    upload(bucket, tmp_path)
    storage = Storage()

    there, _ = read_footers(
        storage, find_files(storage, [f"{bucket.uri}/corpus"]), text_column="text"
    )
    here, _ = read_footers(
        storage, find_files(storage, [str(tmp_path / "corpus")]), text_column="text"
    )

    assert large.stat().st_size > TAIL_BYTES
    assert len(there) == len(here) == 42
    for remote, local in zip(there, here, strict=True):
        assert remote.file.size == local.file.size
        assert remote.group_rows.tolist() == local.group_rows.tolist()
        assert remote.group_text_bytes.tolist() == local.group_text_bytes.tolist()


def test_one_bad_object_is_named_and_can_be_left_out(bucket: S3Bucket, tmp_path: Path) -> None:
    corpora.write_many_files(tmp_path, files=3)
    upload(bucket, tmp_path)
    bucket.filesystem().pipe_file(f"{bucket.name}/bad.parquet", b"PAR1 but not for long")
    bucket.filesystem().pipe_file(f"{bucket.name}/empty.parquet", b"")
    storage = Storage()
    files = find_files(storage, [bucket.uri])

    with pytest.raises(InputCorrupt, match=r"bad\.parquet"):
        read_footers(storage, files, text_column="text")
    footers, skipped = read_footers(storage, files, text_column="text", skip_bad_files=True)

    assert len(footers) == 3
    assert [bad.uri.rpartition("/")[2] for bad in skipped] == ["bad.parquet", "empty.parquet"]


def test_an_object_that_vanished_since_the_listing_is_missing(
    bucket: S3Bucket, tmp_path: Path
) -> None:
    corpora.write_many_files(tmp_path, files=2)
    upload(bucket, tmp_path)
    storage = Storage()
    files = find_files(storage, [bucket.uri])
    bucket.filesystem().rm_file(files[1].uri)

    with pytest.raises(InputMissing, match=files[1].uri):
        read_footers(storage, files, text_column="text")


def test_a_store_that_is_away_is_no_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    storage = Storage(
        StorageSettings(s3_endpoint_url=f"http://127.0.0.1:{free_port()}", s3_retries=1)
    )
    local = Storage().stat(str(corpora.write_corpus(tmp_path / "a.parquet")))
    file = type(local)(uri="s3://bucket/a.parquet", size=local.size, etag="e")

    with pytest.raises(StorageUnavailable, match=r"a\.parquet"):
        read_footers(storage, [file], text_column="text", skip_bad_files=True)


def test_of_submitters_at_once_one_has_the_output(bucket: S3Bucket, tmp_path: Path) -> None:
    corpora.write_many_files(tmp_path / "corpus", files=3)
    upload(bucket, tmp_path)
    outcomes: list[Manifest | OutputTaken] = []

    def submit(chunk_rows: int) -> None:
        spec = JobSpec(
            inputs=(f"{bucket.uri}/corpus",),
            output=f"{bucket.uri}/scored",
            model="m",
            text_column="text",
            chunk_rows=chunk_rows,
        )
        try:
            outcomes.append(create_job(Storage(), spec, MODEL))
        except OutputTaken as error:
            outcomes.append(error)

    threads = [threading.Thread(target=submit, args=(rows,)) for rows in (10, 10, 20, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winner = read_manifest(Storage(), f"{bucket.uri}/scored")
    assert [o for o in outcomes if isinstance(o, Manifest)] == [winner] * 2
    assert len(outcomes) == 4
    assert len(read_chunks(Storage(), winner)) == winner.chunks
