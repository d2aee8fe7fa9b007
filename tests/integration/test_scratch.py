"""Temporary files of a worker that was killed are gone once another worker has started."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import sys, tempfile
from worker.scratch import scratch_folder
folder = scratch_folder()
tempfile.mkstemp(prefix="half-a-result-")
from multiprocessing.util import get_temp_dir  # as Celery's pool does; removed at exit
get_temp_dir()
print(folder, flush=True)
sys.stdin.read()
"""

Process = subprocess.Popen[str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], tuple[Process, Path]]]:
    """Start processes that hold a folder below `tmp_path` until their input ends."""
    with ExitStack() as processes:

        def start() -> tuple[Process, Path]:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={"TMPDIR": str(tmp_path)},
            )
            processes.enter_context(process)
            assert process.stdout is not None
            return process, Path(process.stdout.readline().strip())

        yield start


def test_a_worker_that_starts_removes_what_a_killed_one_left_and_nothing_else(
    start: Callable[[], tuple[Process, Path]], tmp_path: Path
) -> None:
    killed, left = start()
    _living, kept = start()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(list(left.iterdir())) == 3

    _next, fresh = start()

    assert not left.exists()
    assert {folder for folder in tmp_path.iterdir() if folder.is_dir()} == {kept, fresh}
    assert len(list(kept.iterdir())) == 3


def test_a_worker_that_ends_takes_its_temporary_files_along(
    start: Callable[[], tuple[Process, Path]], tmp_path: Path
) -> None:
    process, folder = start()

    _, complaints = process.communicate()

    assert (process.returncode, complaints) == (0, "")
    assert not folder.exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
