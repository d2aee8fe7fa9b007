"""Following the process of a lifecycle task, and what its end means."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import BulkError, ExitCode, ProcessKilled, TaskTimedOut, UnexpectedError
from worker.lifecycle.child import TaskProcess

POLL_SECONDS = 0.25
# How often progress is told, and the log kept.
PROGRESS_SECONDS, LOG_SECONDS = 2.0, 10.0

_ERROR = re.compile(r"error \[([a-z_]+)\]: (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The process came to an end of its own; `error` is why its result is not what was wanted."""

    exit_code: int
    printed: str
    error: BulkError | None = None


def follow(
    process: TaskProcess,
    *,
    advance: Callable[[], None],
    tell: Callable[[str], None],
    keep_log: Callable[[], None],
    limit_seconds: float,
) -> int:
    """Return the exit code once the process has ended by itself.

    Args:
        process: What to follow.
        advance: Called all the time; raises when the task is to be given up.
        tell: Takes a new last line of the log.
        keep_log: Puts the log where it can be read.
        limit_seconds: Longest time.

    Raises:
        TaskTimedOut: It runs longer.
    """
    began = told = kept = time.monotonic()
    said = ""
    while True:
        code = process.wait(POLL_SECONDS)
        if code is not None:
            return code
        advance()
        now = time.monotonic()
        if now - began > limit_seconds:
            raise TaskTimedOut(
                f"ran past {limit_seconds:.0f} s (BULKSCORE_TASK_TIME_LIMIT_SECONDS)"
            )
        if now - told >= PROGRESS_SECONDS and (line := process.last_line()) != said:
            told, said = now, line
            tell(line)
        if now - kept >= LOG_SECONDS:
            kept = now
            keep_log()


def judged(process: TaskProcess, code: int) -> Ended:
    """Return how a process ended that has a result, if only one that did not pass a gate.

    Raises:
        BulkError: What the process said went wrong, or that it was killed.
    """
    if code == ExitCode.OK:
        return Ended(exit_code=code, printed=process.printed())
    line = process.last_line()
    if code < 0:
        raise ProcessKilled(f"ended by signal {-code}; the last it said: {line}")
    error = told_error(line)
    if error is None:
        raise UnexpectedError(f"ended with exit code {code}; the last it said: {line}")
    if code != ExitCode.GATE_FAILED:
        raise error
    return Ended(exit_code=code, printed=process.printed(), error=error)


def told_error(line: str) -> BulkError | None:
    """Return the error of ours that the last line of a log tells of, None when it tells of none."""
    found = _ERROR.match(line)
    if found is None:
        return None
    kinds: list[type[BulkError]] = [BulkError]
    for kind in kinds:  # grows: the whole tree, from its root on
        if kind.code == found[1]:
            return kind(found[2])
        kinds.extend(kind.__subclasses__())
    return None
