"""Drift against the reference that a job was submitted with, told without a person asking."""

from pathlib import Path

import pytest

from producer.drift_janitor import DriftJanitor
from schemas import layout
from schemas.finalize import read_summary
from schemas.manifest import read_manifest
from schemas.storage import Storage
from support import corpora
from support.job_bench import JobBench
from support.processes import start_cli
from support.waiting import wait_until

pytestmark = pytest.mark.integration


def test_drift_is_in_the_summary_whoever_sees_the_end_and_is_told_once(
    job_bench: JobBench, tmp_path: Path
) -> None:
    bench, storage = job_bench, Storage()
    output = str(tmp_path / "all")

    def send(name: str, reference: str) -> str:
        named = ("--job-id", name, "--reference", reference)
        sent = bench.cli("submit", *bench.scoring, "-o", output, "--incremental", *named)
        assert sent.exit_code == 0, sent
        return layout.job_folder(output, name)

    first = send("one", "previous")
    assert read_manifest(storage, first).spec.drift_reference is None
    bench.worker.work()
    ended = bench.cli("wait", "one")
    assert ended.exit_code == 0, ended
    assert "since job" not in ended.stdout

    corpora.write_corpus(bench.corpus / "more.parquet", rows=30, seed=9)
    second = send("two", "previous")
    assert read_manifest(storage, second).spec.drift_reference == first
    assert bench.ledger.awaiting_drift() == ["two"]
    assert "has no result yet" in bench.cli("report", second).stderr
    bench.worker.work()
    passed = bench.cli("reconcile")
    assert passed.exit_code == 0, passed
    kept = read_summary(storage, second)
    assert {drift.reference for drift in kept.drift} == {"one"}
    assert bench.ledger.awaiting_drift() == []
    bench.ledger.await_drift("two")
    DriftJanitor(bench.ledger, storage).look()
    assert read_summary(storage, second) == kept
    assert "drift since job one" in bench.cli("report", second).stdout

    corpora.write_corpus(bench.corpus / "evenmore.parquet", rows=30, seed=8)
    third = send("three", "one")
    bench.worker.work()
    with start_cli("reconcile", "--forever", env=bench.env) as janitor:
        wait_until(lambda: bench.ledger.awaiting_drift() == [], 60, message=janitor.__str__)
    assert {drift.reference for drift in read_summary(storage, third).drift} == {"one"}
    assert "since job one" in bench.cli("wait", "three").stdout


@pytest.mark.slow
def test_a_job_without_its_reference_ends_all_the_same_and_is_not_tried_again(
    job_bench: JobBench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench, old = job_bench, tmp_path / "old"
    refused = bench.submit("--reference", str(old))
    assert refused.exit_code == 2, refused
    assert not bench.output.exists()
    assert bench.ledger.jobs() == []
    unknown = bench.submit("--reference", "previous")
    assert unknown.exit_code == 2, unknown
    assert "--incremental" in unknown.stderr

    assert bench.cli("submit", *bench.scoring, "-o", str(old)).exit_code == 0
    assert bench.submit("--reference", str(old)).exit_code == 0
    again = bench.submit()
    assert again.exit_code == 0, again
    bench.worker.work()
    Path(layout.manifest(str(old))).unlink()
    ended = bench.cli("wait", "nightly")
    assert ended.exit_code == 0, ended
    assert "drift of job nightly is not told" in ended.stderr

    DriftJanitor(bench.ledger, Storage()).look()
    assert "drift of job nightly is not told" in caplog.text
    assert bench.ledger.awaiting_drift() == []
