"""Ctrl-C leaves a job going, or a run resumable, and says how to come back."""

import os
import signal
from pathlib import Path

import pytest

from support import corpora
from support.live_stack import LiveStack
from support.processes import start_cli, wait_until

pytestmark = pytest.mark.acceptance


def test_ctrl_c_in_submit_wait_leaves_the_job_going_and_says_how_to_come_back(
    stack: LiveStack, tmp_path: Path
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet", 60), tmp_path / "scored"
    options = ("--output", output, "--job-id", "left", "--chunk-rows", "10", "--wait")

    with stack.worker_held():
        words = ["submit", *stack.scoring(path, *options)]
        with start_cli(*words, env=stack.env) as running:
            running.wait_for_output("0 of 60 rows")
            running.signal_group(signal.SIGINT)
            assert running.wait() == 130, running

    assert running.stdout == "left\n"
    assert "bulkscore watch left" in running.stderr
    assert "Traceback" not in running.stderr
    done = stack.cli("wait", "left", "--json")
    assert (done.exit_code, done.json()["rows_scored"]) == (0, 60), done


def test_ctrl_c_in_watch_leaves_the_job_going_and_says_how_to_come_back(
    stack: LiveStack, tmp_path: Path
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet", 60), tmp_path / "scored"

    with stack.worker_held():
        stack.submit(path, output, "--job-id", "watched")
        with start_cli("watch", "watched", env=stack.env) as running:
            running.wait_for_output("0 of 60 rows")
            running.signal_group(signal.SIGINT)
            assert running.wait() == 130, running

    assert "bulkscore watch watched" in running.stderr
    assert "Traceback" not in running.stderr
    assert stack.cli("wait", "watched").exit_code == 0


@pytest.mark.slow
def test_ctrl_c_in_run_stops_cleanly_and_the_same_command_completes_it(
    stack: LiveStack, tmp_path: Path
) -> None:
    path, output = corpora.write_corpus(tmp_path / "a.parquet", 2_000), tmp_path / "scored"
    words = ["run", *stack.scoring(path, "--output", output, "--chunk-rows", "5")]
    words += ["--device", "cpu"]

    with start_cli(*words, env=stack.env) as running:
        wait_until(lambda: list(output.glob("part-*")), 90, message="the first result")
        running.signal_group(signal.SIGINT)
        exit_code = running.wait(60)
        left = running.processes()

    assert exit_code == 130, running
    assert left == []
    assert "Traceback" not in running.stderr
    come_back = running.stderr.splitlines()[-1]
    assert come_back.startswith("bulkscore run ")
    parts = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert 0 < len(parts) < 400
    again = stack.cli(*come_back.split()[1:], "--json")
    assert (again.exit_code, again.json()["rows_scored"]) == (0, 2_000), again
    assert {name: os.stat(output / name).st_mtime_ns for name in parts} == parts
