"""Fixtures for every test: a clean environment, real servers, and a loud account of skips."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Imported first: reads where the test data lies before `BULKSCORE_*` is cleared below.
from support import data
from support.s3 import S3Bucket
from support.servers import CephServer, MotoServer, ValkeyServer

FOREIGN_PREFIXES = ("BULKSCORE_", "AWS_", "CELERY_")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the hub out of reach before any test module can import transformers."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not tested, and why."""
    reasons = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if not reasons:
        return
    terminalreporter.section(f"NOT TESTED: {reasons.total()} skipped", yellow=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5} x {reason}", yellow=True)


@pytest.fixture(scope="session", autouse=True)
def clean_session_environment() -> Iterator[None]:
    """Clear the settings of whoever runs the tests before any server or module fixture starts."""
    with pytest.MonkeyPatch.context() as patch:
        _clear_settings(patch)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without `BULKSCORE_*`, `AWS_*` or `CELERY_*`, and without the hub."""
    _clear_settings(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One Redis-compatible server for the whole run; do not stop it, see `start_valkey`."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: ValkeyServer) -> str:
    """URL of the shared server, emptied for this test."""
    valkey.empty()
    return valkey.url


@pytest.fixture
def start_valkey(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ValkeyServer]]:
    """Start servers of this test's own, which it may pause, kill and restart.

    Takes the options of `ValkeyServer`: `start_valkey(append_only=True, password=None)`.
    """
    with ExitStack() as servers:

        def start(*, password: str | None = "", append_only: bool = False) -> ValkeyServer:
            directory = tmp_path_factory.mktemp("valkey")
            server = ValkeyServer(directory, password=password, append_only=append_only)
            return servers.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """One quick, forgiving S3 server for the whole run."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def s3_bucket(moto_s3: MotoServer) -> S3Bucket:
    """An empty bucket on moto, this test's own."""
    return moto_s3.create_bucket()


@pytest.fixture(scope="session")
def ceph_s3() -> Iterator[CephServer]:
    """One real S3 server for the whole run (20 s to start); a test that kills it restarts it."""
    with CephServer() as server:
        yield server


@pytest.fixture
def ceph_bucket(ceph_s3: CephServer) -> S3Bucket:
    """An empty bucket on Ceph, this test's own."""
    if not ceph_s3.running:  # an earlier test killed it
        ceph_s3.restart()
    return ceph_s3.create_bucket()


@pytest.fixture(params=["s3_bucket", "ceph_bucket"], ids=["moto", "ceph"])
def each_s3_bucket(request: pytest.FixtureRequest) -> S3Bucket:
    """An empty bucket, once on moto and once on Ceph."""
    bucket: S3Bucket = request.getfixturevalue(request.param)
    return bucket


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real test texts; skips the test where they are absent."""
    return data.require_data()


def _clear_settings(patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN_PREFIXES)]:
        patch.delenv(name)


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
