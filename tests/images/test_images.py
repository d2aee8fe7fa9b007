"""The images, built for real and run as a cluster runs them: hardened, unprivileged, read-only.

Not part of `make test`: a first build takes minutes. `make images-test` runs it.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.containers import container
from support.corpora import write_corpus
from support.daemon import free_port
from support.images import Image, build_images, require_builder
from support.models import tiny_model
from support.s3 import S3Bucket
from support.servers import ValkeyServer
from support.waiting import wait_until

pytestmark = pytest.mark.acceptance

ROWS, CHUNK_ROWS = 100, 25
SECRETS = "/run/secrets/bulkscore"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An image and its files."""

    image: Image
    root: Path


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Unpacked]]:
    """All three images, built now; what did not change comes from kept layers."""
    require_builder()
    began = time.monotonic()
    built = build_images()
    print(f"\nbuilt in {time.monotonic() - began:.0f} s")
    with ExitStack() as stack:
        yield {
            name: Unpacked(image=image, root=stack.enter_context(image.unpacked()))
            for name, image in built.items()
        }


@pytest.mark.parametrize("name", ["producer", "worker", "flower"])
def test_an_image_is_sealed(images: dict[str, Unpacked], name: str) -> None:
    image, root = images[name].image, images[name].root
    print(f"bulkscore-{name}: {image.size}")

    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["tini", "--", "bulkscore"]
    assert image.config["Labels"]["org.opencontainers.image.title"] == f"bulkscore-{name}"
    assert image.config["Healthcheck"]["Test"][0] == ("NONE" if name == "producer" else "CMD")
    assert "HF_HUB_OFFLINE=1" in image.config["Env"]
    ours = root / "opt/bulkscore"
    assert not list(ours.glob("lib/python3*/site-packages/pip")), "pip is in the image"
    assert bool(list(ours.glob("lib/python3*/site-packages/torch"))) == (name == "worker")
    assert _found(ours, "-not", "-uid", "0", "-o", "-perm", "/022", "-not", "-type", "l") == []
    assert "PIP_FIND_LINKS" not in image.history


def test_producer_and_worker_score_a_job_and_write_only_where_they_may(
    images: dict[str, Unpacked],
    start_valkey: Callable[..., ValkeyServer],
    s3_bucket: S3Bucket,
    tmp_path: Path,
) -> None:
    producer, worker = images["producer"], images["worker"]
    _upload(_corpus_and_model(tmp_path), s3_bucket)
    env = {
        "BULKSCORE_REDIS_URL_FILE": f"{SECRETS}/redis-url",
        "BULKSCORE_S3_ENDPOINT_URL": s3_bucket.endpoint_url,
        "AWS_SHARED_CREDENTIALS_FILE": f"{SECRETS}/aws-credentials",
        "AWS_DEFAULT_REGION": s3_bucket.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BULKSCORE_HTTP_ADDRESS": "127.0.0.1",
    }
    served = {**env, "BULKSCORE_HTTP_PORT": str(free_port())}
    secrets = {SECRETS: _secrets(tmp_path / "secrets", start_valkey().url, s3_bucket)}
    submit = [
        *("submit", "--wait", "--json", "--text-column", "text", "--id-column", "id"),
        *("--input", s3_bucket.key_uri("corpus"), "--model", s3_bucket.key_uri("model")),
        *("--output", s3_bucket.key_uri("scored"), "--chunk-rows", str(CHUNK_ROWS)),
    ]

    with container(worker.image, worker.root, env=served, files=secrets) as serving:
        serving.running.wait_for_output("ready", timeout=120)
        with container(producer.image, producer.root, env=env, files=secrets) as helping:
            assert helping.running.wait() == 0, helping.running  # makes the points to mount on
        started = tmp_path / "started"
        started.touch()
        with container(producer.image, producer.root, *submit, env=env, files=secrets) as asking:
            assert asking.running.wait(timeout=180) == 0, f"{asking.running}\n{serving.running}"
        status = serving.execute("cat", "/proc/1/status").stdout
        health = serving.execute(*worker.image.config["Healthcheck"]["Test"][1:])
        assert health.returncode == 0, f"{health.stderr}\n{serving.running}"
        assert serving.running.terminate(timeout=60) == 0, serving.running

    assert _scored_ids(s3_bucket) == [f"doc-{number:06}" for number in range(ROWS)]
    assert "Uid:\t10001\t10001\t10001\t10001" in status, status
    assert "CapBnd:\t0000000000000000" in status, status
    for unpacked in (producer, worker):
        assert _found(unpacked.root, "-cnewer", str(started)) == []


def test_the_dashboard_serves_and_its_health_check_sees_it(
    images: dict[str, Unpacked], start_valkey: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    flower = images["flower"]
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "password").write_text("for-this-test")
    env = {
        "BULKSCORE_REDIS_URL": start_valkey().url,
        "BULKSCORE_FLOWER_PASSWORD_FILE": f"{SECRETS}/password",
        "BULKSCORE_FLOWER_ADDRESS": "127.0.0.1",
        "BULKSCORE_FLOWER_PORT": str(free_port()),
    }
    check = flower.image.config["Healthcheck"]["Test"][1:]

    with container(flower.image, flower.root, env=env, files={SECRETS: secrets}) as serving:
        wait_until(
            lambda: serving.execute(*check).returncode == 0,
            60,
            interval=0.5,
            message=lambda: f"health of {serving.running}",
        )
        assert serving.running.terminate(timeout=30) == 0, serving.running


def _corpus_and_model(folder: Path) -> Path:
    data = folder / "data"
    tiny_model(data / "model")
    write_corpus(data / "corpus" / "f0.parquet", ROWS)
    return data


def _upload(folder: Path, bucket: S3Bucket) -> None:
    files = bucket.filesystem()
    for path in folder.rglob("*"):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            files.pipe_file(f"{bucket.name}/{key}", path.read_bytes())


def _secrets(folder: Path, redis_url: str, bucket: S3Bucket) -> Path:
    """Write secrets as files that the user in the containers may read."""
    folder.mkdir()
    (folder / "redis-url").write_text(redis_url + "\n")
    (folder / "aws-credentials").write_text(
        f"[default]\naws_access_key_id = {bucket.access_key}\n"
        f"aws_secret_access_key = {bucket.secret_key}\n"
    )
    return folder


def _scored_ids(bucket: S3Bucket) -> list[str]:
    files = bucket.filesystem()
    tables = [
        pq.read_table(files.open(part))
        for part in sorted(files.glob(f"{bucket.name}/scored/part-*.parquet"))
    ]
    assert all(score is not None for table in tables for score in table["score"].to_pylist())
    return [identity for table in tables for identity in table["id"].to_pylist()]


def _found(folder: Path, *test: str) -> list[str]:
    """Return the files and folders below `folder` for which a test of find(1) holds."""
    command = ["find", str(folder), "-xdev", *test]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()
