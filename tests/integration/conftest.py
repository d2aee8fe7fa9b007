"""Fixtures of the tests that need real servers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from schemas.storage import Storage
from support.job_bench import JobBench, open_job_bench
from support.models import tiny_model
from support.s3 import S3Bucket


@pytest.fixture(scope="session")
def bench_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier, the same for all tests of the command line."""
    return tiny_model(tmp_path_factory.mktemp("bench-model") / "sentiment")


@pytest.fixture
def job_bench(tmp_path: Path, bench_model: Path, redis_url: str) -> Iterator[JobBench]:
    """A corpus of four files and a worker that scores when it is told to."""
    with open_job_bench(tmp_path, bench_model, redis_url) as bench:
        yield bench


@pytest.fixture
def ledger(redis_url: str) -> Ledger:
    """The ledger on an empty server."""
    return Ledger(BrokerSettings(redis_url=redis_url))


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client that looks at what the ledger keeps."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that takes 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a full disk needs the right to mount a small one: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


@pytest.fixture
def disk_output(tmp_path: Path) -> str:
    """Where a job's output lies, on disk."""
    return str(tmp_path / "scored")


@pytest.fixture(params=["disk_output", "s3_bucket"], ids=["disk", "moto"])
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a job's output lies: once on disk, once on S3."""
    place: str | S3Bucket = request.getfixturevalue(request.param)
    if isinstance(place, str):
        return place
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    return place.key_uri("lake/scored")


@pytest.fixture
def storage() -> Storage:
    """Storage set up from the environment of the test."""
    return Storage()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some S3 credentials, for stores that do not look at them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
