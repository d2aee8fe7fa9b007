"""Has rows scored once more by the worker side, in a process of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from producer.local import require_worker
from producer.processes import module_command
from schemas import tether
from schemas.errors import BulkError, ExitCode
from schemas.rescore import RescoredChunk, RescoreRequest

SHOWN_BYTES = 2_000


class RescoreFailed(BulkError):
    """The rows could not be scored again, which says nothing about the result."""

    code = "rescore_failed"


def rescore(request: RescoreRequest) -> Iterator[RescoredChunk]:
    """Yield the answer for each chunk as it comes. Call it in the main thread.

    Raises:
        ConfigurationError: The worker side is not installed.
        RescoreFailed: The model is not the pinned one any more, or does not load; storage does
            not answer. The exit code is that of the cause.
    """
    require_worker()
    own = str(os.getpid())
    command = [sys.executable, "-I", "-S", tether.__file__, own, *module_command("worker.rescore")]
    with (
        tempfile.TemporaryFile() as talk,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=talk
        ) as process,
    ):
        try:
            yield from _answers(process, request)
        finally:
            process.kill()  # nothing where it has ended
        if process.returncode:
            raise _failure(process.returncode, talk)


def _answers(
    process: "subprocess.Popen[bytes]", request: RescoreRequest
) -> Iterator[RescoredChunk]:
    if process.stdin is None or process.stdout is None:
        raise AssertionError("bug: the process has no pipes")
    with contextlib.suppress(BrokenPipeError):  # ended already: its exit code says why
        process.stdin.write(request.model_dump_json().encode())
        process.stdin.close()
    for line in process.stdout:
        yield RescoredChunk.model_validate_json(line)
    process.wait()


def _failure(exit_code: int, talk: IO[bytes]) -> RescoreFailed:
    talk.seek(max(0, talk.seek(0, os.SEEK_END) - SHOWN_BYTES))
    told = talk.read().decode(errors="replace").strip()
    error = RescoreFailed(
        f"the sample could not be scored again, the process ended with {exit_code}: {told}"
    )
    if exit_code in tuple(ExitCode):
        error.exit_code = ExitCode(exit_code)
    return error
