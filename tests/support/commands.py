"""Running a `bulkscore` command in the test's own process: no start of Python for each of many.

What a command leaves is what its process would leave. Those that hand over to a module of the
worker, or are sent signals, want a process of their own: `support.processes`.
"""

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

import pytest

from producer.cli.app import run
from support.logs import own_logging
from support.processes import CompletedCli, Environment


def run_here(*args: str, env: Environment | None = None) -> CompletedCli:
    """Run `bulkscore ARGS` to its end and return what it left.

    Args:
        args: Arguments after the command's name.
        env: Variables on top of the test's own environment; None removes one.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    began = time.monotonic()
    with (
        _as_in_a_process(args, env or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        exit_code = run()
    return CompletedCli(
        args=args,
        exit_code=exit_code,
        stdout=_text(out),
        stderr=_text(err),
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def _as_in_a_process(args: tuple[str, ...], env: Environment) -> Iterator[None]:
    """Give the block arguments, environment and logging of its own."""
    with own_logging(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bulkscore", *args])
        patch.setattr("os.execv", _refuse)
        for name, value in env.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        yield


def _refuse(program: str, command: list[str]) -> NoReturn:
    raise AssertionError(f"{program} would take the place of the tests: {command}; use run_cli")


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
