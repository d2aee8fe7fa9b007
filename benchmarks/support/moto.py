"""An S3 server for benchmarks: moto, in a process of its own. Slow, but every request is real."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import s3fs

START_SECONDS = 30.0
BUCKET = "benchmark"


@contextmanager
def moto_bucket() -> Iterator[str]:
    """Start the server, name it in the environment, and give the URI of an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as server:  # type: ignore[call-overload]
        try:
            _wait_for(port)
            os.environ["BULKSCORE_S3_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
            os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "benchmark"
            s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}").mkdir(BUCKET)
            yield f"s3://{BUCKET}"
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
