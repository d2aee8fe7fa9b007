"""Commands run as a user would run them are observed and never outlive their test."""

import signal
import sys

import pytest

from support.guard import process_exists
from support.processes import run_cli, start_command, wait_until

pytestmark = pytest.mark.integration

# A command whose child leaves its session and its parent, as a careless daemon does.
STRAY = """
import os, signal, subprocess, sys, time
stray = "import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", stray]).wait()
print("ready", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else lambda *_: os._exit(7))
while True:
    time.sleep(1)
"""


def test_a_finished_command_tells_its_exit_code_and_both_outputs() -> None:
    usage_error = run_cli("no-such-command")
    well = run_cli("--help")

    assert usage_error.exit_code == 2
    assert "no-such-command" in usage_error.stderr
    assert well.exit_code == 0, well
    assert "Usage" in well.stdout


def test_a_stopped_command_takes_even_its_stray_children_along() -> None:
    with start_command([sys.executable, "-c", STRAY]) as running:
        running.wait_for_output("ready")
        family = running.processes()

        assert running.terminate() == 7
        assert len(running.processes()) == 1

    assert len(family) == 2
    assert not any(process_exists(pid) for pid in family)


def test_a_command_that_ignores_the_request_to_stop_is_killed() -> None:
    with start_command([sys.executable, "-c", STRAY, "stubborn"], stop_timeout=0.5) as running:
        running.wait_for_output("ready")

    assert running.wait() == -signal.SIGKILL
    assert running.processes() == []
    assert running.stdout == "ready\n"


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.1 s for the moon; last seen: 0"):
        wait_until(lambda: 0, 0.1, message="the moon")


def test_output_of_a_command_that_ended_too_early_is_shown() -> None:
    with (
        start_command([sys.executable, "-c", "raise SystemExit('no disk')"]) as running,
        pytest.raises(AssertionError, match="no disk"),
    ):
        running.wait_for_output("ready")
