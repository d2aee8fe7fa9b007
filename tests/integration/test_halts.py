"""A job that an error of every chunk has halted says what it was, to whoever asks, and goes on."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from producer import watch
from producer.deployment import Deployment
from schemas import layout
from schemas.finalize import read_summary
from schemas.manifest import read_manifest
from schemas.storage import Storage
from support.job_bench import JOB, JobBench
from support.processes import start_cli

pytestmark = pytest.mark.integration


@pytest.fixture
def own_model(job_bench: JobBench, tmp_path: Path) -> JobBench:
    """The job's model is a copy that may be changed."""
    model = shutil.copytree(job_bench.model, tmp_path / "own-model")
    return replace(job_bench, model=model)


def test_a_halted_job_says_why_to_whoever_asks_and_goes_on_once_it_is_mended(
    own_model: JobBench,
) -> None:
    own_model.submit()
    config = own_model.model / "config.json"
    sound = config.read_bytes()
    config.write_bytes(sound + b" ")
    assert own_model.worker.work() == ["dead", "halted", "halted", "halted"]

    shown = own_model.cli("show", JOB)
    (listed,) = own_model.cli("jobs", "--json").json()
    done = own_model.cli("wait", JOB)
    summary = own_model.cli("wait", JOB, "--json").json()

    assert done.exit_code == 3, done
    for record in (listed, summary):
        assert (record["state"], record["stopped_by"]) == ("failed", "model_incompatible")
        assert "config.json" in record["stopped_message"]
    why = f"halted: [model_incompatible] {summary['stopped_message']}"
    assert f"failed, {why}" in shown.stdout
    assert f"failed, {why}" in done.stdout
    assert f"{why}; mend it, then: bulkscore resume {own_model.output}\n" in done.stderr
    assert f"bulkscore reprocess {own_model.output}" in done.stderr

    config.write_bytes(sound)
    resumed = own_model.cli("resume", str(own_model.output))
    own_model.cli("reprocess", JOB)
    own_model.worker.work()
    done = own_model.cli("wait", JOB)
    assert "halted: " not in resumed.stderr
    assert done.exit_code == 0, done
    assert "halted: " not in done.stdout + done.stderr


@pytest.mark.parametrize("command", [pytest.param("wait", marks=pytest.mark.slow), "submit --wait"])
def test_following_a_halted_job_ends_with_3_when_its_output_cannot_be_read(
    job_bench: JobBench, command: str
) -> None:
    job_bench.submit()
    manifest = Path(layout.manifest(str(job_bench.output)))
    args = ["wait", JOB]
    if command == "submit --wait":
        args = ["submit", *job_bench.scoring, "--output", str(job_bench.output)]
        args += ["--job-id", JOB, "--wait"]

    with start_cli(*args, env=job_bench.env) as running:
        running.wait_for_output("0 of 4 chunks")
        manifest.rename(job_bench.folder / "manifest.json")
        job_bench.worker.work()
        exit_code = running.wait()

        assert exit_code == 3, running
        assert "has no summary that can be read" in running.stderr
        assert "halted: [manifest_missing] " in running.stderr
        assert f"mend it, then: bulkscore resume {job_bench.output}\n" in running.stderr
        assert "Traceback" not in running.stderr
    assert job_bench.ledger.active() == []

    (job_bench.folder / "manifest.json").rename(manifest)
    job_bench.cli("resume", str(job_bench.output))
    job_bench.cli("reprocess", str(job_bench.output))
    job_bench.worker.work()
    done = job_bench.cli("wait", JOB)
    assert done.exit_code == 0, done


def test_a_halted_job_that_nobody_ends_is_not_followed_for_ever(
    job_bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSCORE_REDIS_URL", job_bench.redis_url)
    monkeypatch.setattr(watch, "SUMMARY_SECONDS", 1.0)
    job_bench.submit()
    deployment = Deployment.from_environment()
    manifest = read_manifest(deployment.storage, str(job_bench.output))
    Path(layout.manifest(str(job_bench.output))).unlink()
    job_bench.worker.work()
    follower = watch.Follower(deployment, manifest, keep_queued=False, tell=print)

    started = time.monotonic()

    *_, last = follower.follow(timeout_seconds=60)

    assert time.monotonic() - started < 30
    assert (last.ended, last.at_rest, last.stopped_by) == (False, True, "manifest_missing")
    assert watch.exit_code_of(last) == 3


def test_watch_in_json_says_what_halted_the_job(own_model: JobBench) -> None:
    own_model.submit()
    (own_model.model / "config.json").write_text("{}")
    own_model.worker.work()

    with start_cli("watch", JOB, "--json", env=own_model.env) as running:
        running.wait_for_output('"stopped_by": "model_incompatible"')
        own_model.cli("reconcile")
        exit_code = running.wait()
        last = json.loads(running.stdout.splitlines()[-1])

    assert exit_code == 3, running
    assert last["stopped_by"] == "model_incompatible"


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_resume_writes_a_summary_that_is_no_good_anew(job_bench: JobBench, damage: str) -> None:
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)
    summary = Path(layout.summary(str(job_bench.output)))
    before = read_summary(Storage(), str(job_bench.output))
    summary.unlink() if damage == "gone" else summary.write_bytes(summary.read_bytes()[:100])

    resumed = job_bench.cli("resume", str(job_bench.output))

    assert resumed.exit_code == 0, resumed
    after = read_summary(Storage(), str(job_bench.output))
    assert after.model_copy(update={"finished_at": before.finished_at}) == before
    assert job_bench.status().ended
    assert job_bench.cli("verify", str(job_bench.output)).exit_code == 0


def test_a_damaged_summary_says_how_to_mend_it(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)
    Path(layout.summary(str(job_bench.output))).write_bytes(b"{")

    for command in ("wait", "report", "verify"):
        done = job_bench.cli(command, str(job_bench.output))
        assert f"bulkscore resume {job_bench.output}" in done.stdout + done.stderr, command
        assert done.exit_code != 0


def test_a_damaged_result_ends_the_job_and_is_scored_again_once_it_is_deleted(
    job_bench: JobBench,
) -> None:
    job_bench.submit()
    damaged = Path(layout.result(str(job_bench.output), 1))
    damaged.write_bytes(b"PAR1 and no more")
    assert job_bench.worker.work() == ["succeeded", "dead", "succeeded", "succeeded"]

    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 3, done
    assert "1 damaged" in done.stdout
    assert f"bulkscore verify {job_bench.output}" in done.stderr
    assert str(damaged) in job_bench.cli("verify", str(job_bench.output)).stdout
    damaged.unlink()
    job_bench.cli("resume", str(job_bench.output))
    job_bench.cli("reprocess", str(job_bench.output))
    job_bench.worker.work()
    assert job_bench.cli("wait", JOB).exit_code == 0
    assert job_bench.cli("verify", str(job_bench.output)).exit_code == 0
