"""Whole jobs on S3 servers: real workers, the real command line, and a store that fails."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from support.corpora import write_corpus
from support.flaky_s3 import FlakyGateway, flaky_gateway
from support.models import tiny_model
from support.processes import CompletedCli, run_cli, start_command
from support.s3 import S3Bucket

pytestmark = pytest.mark.acceptance

FILES, ROWS = 4, 100
QUICK = {
    "BULKSCORE_RECONCILE_SECONDS": "0.2",
    "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
    "BULKSCORE_S3_RETRIES": "1",
    "BULKSCORE_TORCH_THREADS": "1",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a model and a corpus of `FILES` files."""
    tiny_model(tmp_path / "model")
    for number in range(FILES):
        write_corpus(tmp_path / "corpus" / f"f{number}.parquet", ROWS, seed=number)
    return tmp_path


def upload(folder: Path, bucket: S3Bucket) -> None:
    files = bucket.filesystem()
    for path in folder.rglob("*"):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            files.pipe_file(f"{bucket.name}/{key}", path.read_bytes())


@contextmanager
def workers(count: int, environment: dict[str, str]) -> Iterator[None]:
    with ExitStack() as stack:
        for number in range(count):
            command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
            process = start_command([*command, "--name", f"w{number}"], env=environment)
            stack.enter_context(process).wait_for_output("ready", timeout=60)
        yield


def submit(bucket: S3Bucket, environment: dict[str, str], *options: str) -> CompletedCli:
    return run_cli(
        "submit",
        *("--input", bucket.key_uri("corpus")),
        *("--model", bucket.key_uri("model")),
        *("--output", bucket.key_uri("scored")),
        *("--text-column", "text", "--id-column", "id", "--chunk-rows", "25"),
        *("--job-id", "nightly", "--json", *options),
        env=environment,
        timeout=180,
    )


def result_rows(bucket: S3Bucket) -> list[dict[str, Any]]:
    files = bucket.filesystem()
    parts = sorted(files.glob(f"{bucket.name}/scored/part-*.parquet"))
    rows: list[dict[str, Any]] = []
    for part in parts:
        with files.open(part) as stream:
            rows.extend(pq.read_table(stream).to_pylist())
    return rows


def test_two_workers_share_a_job_and_every_row_comes_out_once_and_in_order(
    corpus: Path, ceph_bucket: S3Bucket, redis_url: str
) -> None:
    upload(corpus, ceph_bucket)
    environment = {**ceph_bucket.env, **QUICK, "BULKSCORE_REDIS_URL": redis_url}

    with workers(2, environment):
        done = submit(ceph_bucket, environment, "--wait")

    assert done.exit_code == 0, str(done)
    summary = done.json()
    assert summary["rows"] == summary["rows_scored"] + summary["rows_error"] == FILES * ROWS
    assert len(summary["workers"]) == 2
    rows = result_rows(ceph_bucket)
    places = [(row["source_file"], row["source_row"]) for row in rows]
    assert places == sorted(set(places))
    assert len(places) == FILES * ROWS
    assert ceph_bucket.filesystem().exists(f"{ceph_bucket.name}/scored/_SUCCESS")
    verified = run_cli("verify", ceph_bucket.key_uri("scored"), env=environment)
    assert verified.exit_code == 0, str(verified)


@pytest.fixture
def gateway(corpus: Path, s3_bucket: S3Bucket) -> Iterator[FlakyGateway]:
    """A gateway before the bucket that holds `corpus`."""
    upload(corpus, s3_bucket)
    with flaky_gateway(s3_bucket) as running:
        yield running


def reads_of(name: str) -> Any:
    """Pick the ranged reads of one file's data, which only a worker makes once it is planned."""
    return lambda method, path: method == "GET" and name in path


@pytest.mark.slow
def test_a_chunk_that_fails_twice_and_then_works_is_scored(
    gateway: FlakyGateway, s3_bucket: S3Bucket, redis_url: str
) -> None:
    environment = flaky_environment(gateway, s3_bucket, redis_url)
    planned = submit(s3_bucket, environment)
    broken = reads_of("f2.parquet")
    # One attempt makes two requests before it gives up (retries² + 1).
    gateway.fails = lambda method, path: broken(method, path) and gateway.failed < 4

    with workers(1, environment):
        done = run_cli("wait", "nightly", "--json", env=environment, timeout=180)

    assert planned.exit_code == 0, str(planned)
    assert done.exit_code == 0, str(done)
    assert gateway.failed == 4
    assert len(result_rows(s3_bucket)) == FILES * ROWS


@pytest.mark.slow
def test_a_chunk_that_always_fails_is_buried_shown_and_reprocessed_once_the_cause_is_mended(
    gateway: FlakyGateway, s3_bucket: S3Bucket, redis_url: str
) -> None:
    environment = flaky_environment(gateway, s3_bucket, redis_url)
    planned = submit(s3_bucket, environment)
    gateway.fails = reads_of("f2.parquet")

    with workers(1, environment):
        failed = run_cli("wait", "nightly", "--json", env=environment, timeout=180)
        shown = run_cli("dead-letters", "nightly", "--json", env=environment)
        gateway.fails = lambda _method, _path: False
        sent = run_cli("reprocess", "nightly", "--code", "storage_unavailable", env=environment)
        mended = run_cli("wait", "nightly", "--json", env=environment, timeout=180)

    assert planned.exit_code == 0, str(planned)
    assert failed.exit_code == 3, str(failed)
    assert failed.json()["rows_dead"] == ROWS
    letters = shown.json()
    assert {letter["code"] for letter in letters} == {"storage_unavailable"}
    assert all(len(letter["attempts"]) == 3 for letter in letters)
    assert sent.exit_code == 0, str(sent)
    assert mended.exit_code == 0, str(mended)
    assert len(result_rows(s3_bucket)) == FILES * ROWS
    verified = run_cli("verify", s3_bucket.key_uri("scored"), env=environment)
    assert verified.exit_code == 0, str(verified)


def flaky_environment(gateway: FlakyGateway, bucket: S3Bucket, redis_url: str) -> dict[str, str]:
    through = {"AWS_ENDPOINT_URL": gateway.url, "BULKSCORE_S3_ENDPOINT_URL": gateway.url}
    limits = {"BULKSCORE_REDIS_URL": redis_url, "BULKSCORE_MAX_ATTEMPTS": "3"}
    return {**bucket.env, **QUICK, **limits, **through}
