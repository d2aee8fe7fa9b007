"""`watch`, `wait` and `submit --wait`: progress, the end of a job, and how to leave and return."""

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from producer import watch
from producer.deployment import Deployment
from schemas.manifest import read_manifest
from support.job_bench import JOB, JobBench
from support.processes import bulkscore_path, run_cli, start_cli
from support.servers import ValkeyServer
from support.stored_jobs import store_result
from support.waiting import wait_until

pytestmark = pytest.mark.integration


def test_wait_ends_with_the_summary_of_a_job_that_succeeded(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 0, done
    assert "succeeded" in done.stdout
    assert (job_bench.output / "_SUCCESS").exists()
    assert job_bench.status().ended


def test_wait_in_json_prints_the_summary_alone_on_stdout(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    summary = job_bench.cli("wait", str(job_bench.output), "--json").json()

    assert summary["rows"] == summary["rows_scored"] == 100
    assert summary["chunks_succeeded"] == 4


def test_submit_with_wait_shows_progress_and_ends_with_the_job(job_bench: JobBench) -> None:
    with start_cli(
        *("submit", *job_bench.scoring, "--output", str(job_bench.output), "--job-id", JOB),
        "--wait",
        env=job_bench.env,
    ) as running:
        running.wait_for_output("4 to score")
        assert running.stdout == f"{JOB}\n"
        wait_until(lambda: job_bench.worker.work() or job_bench.status().ended, timeout=30)
        exit_code = running.wait()

    assert exit_code == 0, running
    assert f"{JOB}: 0%, 0 of 100 rows, 0 of 4 chunks" in running.stderr
    assert f"{JOB}: 100%, 100 of 100 rows, 4 of 4 chunks" in running.stderr
    assert running.stdout == f"{JOB}\n"


def test_watch_in_json_is_one_object_a_line_and_the_summary_last(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    with start_cli("watch", JOB, "--json", env=job_bench.env) as running:
        running.wait_for_output('"rows_done": 100')
        job_bench.cli("reconcile")
        exit_code = running.wait()
        lines = [json.loads(line) for line in running.stdout.splitlines()]

    assert exit_code == 0, running
    assert [line["ended"] for line in lines[:-1]] == [False, True]
    assert lines[-1]["state"] == "succeeded"


def test_watch_only_looks(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    with start_cli("watch", JOB, env=job_bench.env) as running:
        running.wait_for_output("100%")

        assert not job_bench.status().ended


def test_a_wait_that_times_out_says_so_and_the_job_goes_on(job_bench: JobBench) -> None:
    job_bench.submit()

    done = job_bench.cli("wait", JOB, "--timeout", "0.5")

    assert done.exit_code == 5, done
    assert f"bulkscore wait {JOB}" in done.stderr
    assert job_bench.status().pending == 4


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_ctrl_c_leaves_with_130_and_the_command_to_come_back(
    job_bench: JobBench, command: str
) -> None:
    job_bench.submit()

    with start_cli(command, JOB, env=job_bench.env) as running:
        running.wait_for_output("0 of 100 rows")
        running.signal_group(signal.SIGINT)
        exit_code = running.wait()

        assert exit_code == 130, running
        assert f"bulkscore watch {JOB}" in running.stderr
        assert "Traceback" not in running.stderr
    assert job_bench.status().pending == 4


def test_dead_chunks_end_a_wait_with_3(job_bench: JobBench) -> None:
    job_bench.submit()
    (job_bench.corpus / "2.parquet").unlink()
    job_bench.worker.work()

    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 3, done
    assert "1 input_missing" in done.stdout
    assert not (job_bench.output / "_SUCCESS").exists()


def test_more_row_errors_than_allowed_end_a_wait_with_4(job_bench: JobBench) -> None:
    _blank_first_row(job_bench.corpus / "0.parquet")
    job_bench.submit("--max-row-errors", "0")
    job_bench.worker.work()

    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 4, done
    assert "1 (1 text_blank)" in done.stdout


def test_a_cancelled_job_ends_a_wait_with_3(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work(most=1)
    job_bench.cli("cancel", JOB)

    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 3, done
    assert "cancelled" in done.stdout
    assert "1 succeeded, 0 dead, 3 not scored" in done.stdout


def test_a_wait_survives_the_loss_of_redis(job_bench: JobBench, valkey: ValkeyServer) -> None:
    job_bench.submit()
    job_bench.worker.work(most=2)

    with start_cli("wait", JOB, env=job_bench.env) as running:
        running.wait_for_output("2 of 4 chunks")
        valkey.empty()
        running.wait_for_output("entered it again from its output")
        wait_until(lambda: job_bench.worker.work() or running.poll() is not None, timeout=30)

        assert running.wait() == 0, running
    assert sorted(p.name for p in job_bench.output.glob("part-*")) == [
        f"part-{chunk:06}.parquet" for chunk in range(4)
    ]


def test_a_watch_enters_a_job_again_that_redis_has_lost(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.worker.work(most=2)

    with start_cli("watch", JOB, env=job_bench.env) as running:
        running.wait_for_output("2 of 4 chunks")
        valkey.empty()
        running.wait_for_output("entered it again from its output")

    assert (job_bench.status().pending, job_bench.worker.take()) == (2, None)


def test_a_wait_leaves_a_job_alone_that_failed_and_that_redis_has_forgotten(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit("--max-dead-chunks", "0")
    (job_bench.corpus / "0.parquet").unlink()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)
    valkey.empty()

    done = job_bench.cli("wait", str(job_bench.output))

    assert done.exit_code == 3, done
    assert not job_bench.ledger.knows(JOB)


def test_a_wait_that_sees_nothing_move_settles_what_the_ledger_missed(
    job_bench: JobBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSCORE_REDIS_URL", job_bench.redis_url)
    monkeypatch.setattr(watch, "IDLE_SECONDS", 1.0)
    job_bench.submit()
    job_bench.worker.work(most=3)
    deployment = Deployment.from_environment()
    manifest = read_manifest(deployment.storage, str(job_bench.output))
    store_result(
        deployment.storage,
        manifest,
        3,
        rows=25,
        rows_scored=25,
        model_digest=manifest.model.digest,
    )
    told: list[str] = []
    follower = watch.Follower(deployment, manifest, keep_queued=False, tell=told.append)
    progress = follower.follow(timeout_seconds=30)
    assert next(progress).chunks_done == 3

    wait_until(lambda: next(progress).chunks_done == 4, timeout=20)

    assert "no worker has taken a chunk" in told[0]


def test_a_wait_survives_a_restart_of_redis(
    job_bench: JobBench, start_valkey: Callable[..., ValkeyServer]
) -> None:
    server = start_valkey()
    env = {**job_bench.env, "BULKSCORE_REDIS_URL": server.url}
    run_cli("submit", *job_bench.scoring, "-o", str(job_bench.output), "--job-id", JOB, env=env)

    with start_cli("wait", JOB, "--timeout", "60", env=env) as running:
        running.wait_for_output("0 of 4 chunks")
        server.kill()
        running.wait_for_output("trying again")
        server.restart()
        running.wait_for_output("entered it again from its output")


def test_wait_tells_of_a_job_that_ended_and_that_redis_has_forgotten(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)
    valkey.empty()

    done = job_bench.cli("watch", str(job_bench.output))

    assert done.exit_code == 0, done
    assert "succeeded" in done.stdout


def test_an_unknown_job_is_told_as_bad_usage(job_bench: JobBench) -> None:
    done = job_bench.cli("wait", "no-such-job")

    assert done.exit_code == 2, done
    assert "error [job_unknown]" in done.stderr


def test_on_a_terminal_progress_is_a_bar(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    screen, exit_code = _on_a_terminal("wait", JOB, env=job_bench.env)

    assert exit_code == 0
    assert "━" in screen
    assert "100 of 100 rows" in screen


def _on_a_terminal(*args: str, env: dict[str, str]) -> tuple[str, int]:
    """Run a command with a terminal for stderr and return what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [bulkscore_path(), *args],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, **env, "TERM": "xterm", "COLUMNS": "160"},
    )
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        try:
            while block := os.read(ours, 4096):
                written.extend(block)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        exit_code = process.wait(timeout=60)
        reader.join(timeout=10)
    finally:
        process.kill()
        os.close(ours)
    return written.decode(errors="replace"), exit_code


def _blank_first_row(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    texts = ["  ", *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(1, "text", pa.array(texts)), path)
