"""Whole jobs by roles that may do no more than `k8s/policies/s3` says, all objects encrypted."""

import dataclasses
import json
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from producer.cli.app import run
from schemas import layout
from schemas.errors import AccessDenied
from schemas.locations import bucket_and_key
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support.corpora import write_corpus
from support.hand_worker import HandWorker
from support.models import tiny_model
from support.s3 import S3Bucket
from support.servers import CephServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

POLICIES = Path(__file__).parents[2] / "k8s/policies/s3"
ROLES = ("producer", "worker", "trainer", "release")
KEY = "testkey-1"
Be = Callable[[str], Storage]


@dataclasses.dataclass(frozen=True)
class Deployed:
    """Three buckets, and who may do what in them."""

    corpus: S3Bucket
    results: S3Bucket
    models: S3Bucket
    keys: dict[str, tuple[str, str]]

    @property
    def buckets(self) -> dict[str, S3Bucket]:
        """Each bucket by its placeholder."""
        return {
            "@CORPUS_BUCKET@": self.corpus,
            "@RESULTS_BUCKET@": self.results,
            "@MODELS_BUCKET@": self.models,
        }


@pytest.fixture(scope="module")
def deployed(ceph_s3: CephServer) -> Deployed:
    """The policies as policies of the buckets: Ceph names the role in each statement."""
    users = {role: f"{role}{uuid.uuid4().hex[:8]}" for role in ROLES}
    keys = {role: ceph_s3.create_user(user) for role, user in users.items()}
    made = Deployed(
        corpus=ceph_s3.create_bucket(),
        results=ceph_s3.create_bucket(),
        models=ceph_s3.create_bucket(),
        keys=keys,
    )
    for placeholder, bucket in made.buckets.items():
        statements = []
        for role, user in users.items():
            for statement in json.loads((POLICIES / f"{role}.json").read_text())["Statement"]:
                here = [r.replace(placeholder, bucket.name) for r in statement["Resource"]]
                here = [resource for resource in here if "@" not in resource]
                principal = {"AWS": [f"arn:aws:iam:::user/{user}"]}
                named = {"Sid": f"{role}{statement['Sid']}", "Principal": principal}
                if here:
                    statements.append({**statement, **named, "Resource": here})
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        bucket.filesystem().call_s3("put_bucket_policy", Bucket=bucket.name, Policy=policy)
    return made


@pytest.fixture
def be(deployed: Deployed, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Be:
    """Take on a role for what this process does next."""

    def become(role: str) -> Storage:
        access, secret = deployed.keys[role]
        bucket = dataclasses.replace(deployed.corpus, access_key=access, secret_key=secret)
        settings = {
            **bucket.env,
            "BULKSCORE_REDIS_URL": redis_url,
            "BULKSCORE_S3_SSE_KMS_KEY_ID": KEY,
            "BULKSCORE_ALLOWED_URIS": ",".join(b.uri for b in deployed.buckets.values()),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return Storage(StorageSettings())

    return become


def command(patch: pytest.MonkeyPatch, *arguments: str) -> int:
    patch.setattr(sys, "argv", ["bulkscore", *arguments])
    return run()


def upload(folder: Path, bucket: S3Bucket, prefix: str) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        key = f"{bucket.name}/{prefix}/{path.relative_to(folder)}"
        bucket.filesystem().pipe_file(key, path.read_bytes())


def encryption(storage: Storage, uri: str) -> str | None:
    bucket, key = bucket_and_key(uri)
    head: dict[str, Any] = storage.s3.call_s3("head_object", Bucket=bucket, Key=key)
    return head.get("ServerSideEncryption")


def test_a_job_and_its_reprocess_go_through_and_everything_is_encrypted(
    deployed: Deployed,
    be: Be,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_model(tmp_path / "model")
    write_corpus(tmp_path / "corpus" / "a.parquet", 40)
    write_corpus(tmp_path / "corpus" / "b.parquet", 5)
    upload(tmp_path / "model", deployed.models, "sentiment")
    upload(tmp_path / "corpus", deployed.corpus, "day")
    output = deployed.results.key_uri("scored")
    spec = ("--input", deployed.corpus.key_uri("day"), "--output", output, "--text-column", "text")
    model = ("--model", deployed.models.key_uri("sentiment"))

    be("producer")
    submitted = ("submit", *spec, *model, "--chunk-rows", "20", "--job-id", "nightly")
    assert command(monkeypatch, *submitted) == 0
    be("worker")
    worker = HandWorker(redis_url, tmp_path / "cache")
    lost = f"{deployed.corpus.name}/day/b.parquet"
    content = deployed.corpus.filesystem().cat_file(lost)
    deployed.corpus.filesystem().rm_file(lost)
    assert set(worker.work()) == {"dead", "succeeded"}
    assert command(monkeypatch, "reconcile") == 0
    deployed.corpus.filesystem().pipe_file(lost, content)
    be("producer")
    assert command(monkeypatch, "wait", "nightly") == 3
    assert command(monkeypatch, "reprocess", "nightly") == 0
    be("worker")
    worker.work()
    assert command(monkeypatch, "reconcile") == 0
    worker.close()
    be("producer")
    assert command(monkeypatch, "wait", "nightly") == 0
    assert command(monkeypatch, "verify", output) == 0

    reader = be("producer")
    written = [stat.uri for stat in reader.list_objects(output, recursive=True)]
    assert len(written) > 6
    assert {encryption(reader, uri) for uri in written} == {"aws:kms"}


def test_uploads_of_any_size_are_encrypted(deployed: Deployed, be: Be, tmp_path: Path) -> None:
    storage = be("trainer")
    (tmp_path / "weights").write_bytes(b"w" * (51 * 1024 * 1024))  # s3fs sends it in parts
    place = deployed.models.key_uri("mood/versions/1/f/weights")
    storage.upload(tmp_path / "weights", place)
    assert encryption(storage, place) == "aws:kms"


@pytest.mark.parametrize(
    ("role", "bucket", "key"),
    [
        ("producer", "results", "scored/part-000000.parquet"),
        ("producer", "corpus", "day/a.parquet"),
        ("producer", "models", "mood/aliases/prod.json"),
        ("worker", "results", "scored/_bulkscore/manifest.json"),
        ("worker", "results", "scored/_bulkscore/generations/0001.json"),
        ("worker", "corpus", "day/a.parquet"),
        ("worker", "models", "other/config.json"),
        ("trainer", "models", "mood/aliases/prod.json"),
        ("trainer", "corpus", "day/a.parquet"),
        ("trainer", "results", "scored/part-000000.parquet"),
        ("release", "models", "mood/versions/1/manifest.json"),
    ],
)
def test_what_a_role_may_not_write_it_may_not_delete_either(
    deployed: Deployed, be: Be, role: str, bucket: str, key: str
) -> None:
    storage, uri = be(role), getattr(deployed, bucket).key_uri(key)
    owner: S3Bucket = getattr(deployed, bucket)
    owner.filesystem().pipe_file(f"{owner.name}/{key}", b"as it was")
    for change in (lambda: storage.replace(uri, b"x"), lambda: storage.delete(uri)):
        with pytest.raises(AccessDenied):
            change()
    assert owner.filesystem().cat_file(f"{owner.name}/{key}") == b"as it was"


def test_nobody_deletes_results_manifests_or_versions(deployed: Deployed, be: Be) -> None:
    places = {
        "worker": deployed.results.key_uri("scored/part-000001.parquet"),
        "producer": layout.manifest(deployed.results.key_uri("scored")),
        "trainer": deployed.models.key_uri("mood/versions/1/manifest.json"),
        "release": deployed.models.key_uri("mood/aliases/prod.json"),
    }
    for role, uri in places.items():
        storage = be(role)
        with suppress(FileNotFoundError):
            storage.replace(uri, b"there")  # it may write it
        with pytest.raises(AccessDenied):
            storage.delete(uri)


def test_a_job_outside_what_is_allowed_is_refused_before_anything_is_written(
    deployed: Deployed,
    be: Be,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    be("producer")
    write_corpus(tmp_path / "a.parquet", 10)
    output = deployed.results.key_uri("refused")
    model = ("--model", deployed.models.key_uri("sentiment"), "--text-column", "text")
    words = ("submit", "--input", str(tmp_path / "a.parquet"), "--output", output, *model)
    assert command(monkeypatch, *words) == 2
    assert "error [location_refused]" in capsys.readouterr().err
    # A worker refuses what a submitter without the list has let through.
    monkeypatch.setenv("BULKSCORE_ALLOWED_URIS", "")
    assert command(monkeypatch, *words, "--job-id", "elsewhere") == 0
    be("worker")
    worker = HandWorker(redis_url, tmp_path / "cache")
    worker.work()
    worker.close()
    assert command(monkeypatch, "show", "elsewhere") == 0
    assert "location_refused" in capsys.readouterr().out
