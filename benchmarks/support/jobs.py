"""Workers and jobs of benchmarks, over a broker of their own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.support import traced_worker
from producer.deployment import Deployment
from schemas.job import Manifest
from schemas.resume import resume
from schemas.states import ChunkState

JOB_SECONDS = 1_800.0
# Each look takes a millisecond of a processor that the workers want: one every 5 ms took an engine
# on both of two cores a seventh of its speed.
POLL_SECONDS = 0.25


def worker_environment(folder: Path, *, threads: int, device: str = "auto") -> dict[str, str]:
    """Return the variables of a traced worker whose files lie below a folder."""
    trace = folder / "trace"
    trace.mkdir()
    return {
        "BULKSCORE_MODEL_CACHE_DIR": str(folder / "models"),
        "BULKSCORE_TORCH_THREADS": str(threads),
        "BULKSCORE_DEVICE": device,
        "BULKSCORE_LOG_LEVEL": "WARNING",
        traced_worker.FOLDER_VARIABLE: str(trace),
    }


@contextmanager
def running_worker(log: Path) -> Iterator[psutil.Process]:
    """Run a traced worker in this process' environment; what it says goes to a file."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, traced_worker.__file__], stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield psutil.Process(process.pid)
        except TimeoutError:
            print(log.read_text(errors="replace")[-4_000:], file=sys.stderr)
            raise
        finally:
            process.terminate()


def score_job(deployment: Deployment, manifest: Manifest) -> tuple[float, float]:
    """Let the workers score a job; return when its first messages left and when it was done.

    Both are of the machine's monotonic clock. It is done when its last chunk is seen to be in the
    ledger, up to `POLL_SECONDS` after it came there.

    Raises:
        TimeoutError: It did not end.
    """
    resume(deployment.storage, deployment.ledger, manifest)
    start = time.monotonic()
    deployment.reconciler.run_once(only=manifest.job_id)
    while True:
        status = deployment.ledger.status(manifest.job_id)
        if status.chunks[ChunkState.SUCCEEDED] == manifest.chunks:
            return start, time.monotonic()
        if time.monotonic() > start + JOB_SECONDS or status.chunks[ChunkState.DEAD]:
            raise TimeoutError(f"{manifest.job_id} does not succeed: {status.chunks}")
        time.sleep(POLL_SECONDS)
