"""The `bulkscore` command: all families of commands on one app, and how errors end it.

Kept light: `bulkscore --help` may load typer and rich, never pyarrow, polars, s3fs, Celery or
torch. A command imports what it needs when it runs.
"""

import contextlib
import logging
import os
import sys
import traceback
from typing import NoReturn

import typer

from producer.cli import (
    chunk_logs,
    comparing,
    compressing,
    dead_letters,
    diagnosis,
    evaluating,
    jobs,
    labelling,
    local,
    models,
    recovery,
    replaying,
    reprocessing,
    results,
    submission,
    watching,
    weak_labelling,
)
from producer.cli.logging_setup import log_when_needed
from producer.cli.terminal import report_error, say
from schemas.errors import BulkError, ExitCode

HELP = """Score Parquet corpora of any size with a Hugging Face sequence classifier.

Example: bulkscore submit -i s3://lake/reviews/ -m models/sentiment --text-column text \
-o s3://lake/scored/ --wait

Exit codes: 0 all well, 1 unexpected, 2 usage or bad input, 3 some chunks have no result, 4 more \
row errors than allowed, 5 wait timed out, 6 a model did not pass its gate, 69 broker or storage \
unreachable, 78 configuration, 130 interrupted.
"""
FAMILIES = (
    submission,
    jobs,
    chunk_logs,
    watching,
    dead_letters,
    replaying,
    reprocessing,
    results,
    comparing,
    local,
    evaluating,
    compressing,
    labelling,
    weak_labelling,
    models,
    recovery,
    diagnosis,
)


def build_app() -> typer.Typer:
    """Return the app with every command registered."""
    app = typer.Typer(
        name="bulkscore",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP)(_root)
    for family in FAMILIES:
        family.register(app)
    return app


def _root() -> None:
    """Make the app a group of commands even while it has one."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _leave(run())


def run() -> int:
    """Run the command line and return its exit code."""
    log_when_needed()
    try:
        build_app()()
    except SystemExit as end:  # how click ends every command
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BulkError as error:
        report_error(error, as_json="--json" in sys.argv)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception:
        traceback.print_exc()
        say("This is a bug in bulkscore. Please report it with the lines above.")
        return ExitCode.UNEXPECTED
    return ExitCode.OK


def _leave(code: int) -> NoReturn:
    """End the process without winding the interpreter down.

    Native threads of Arrow, polars and s3fs live as long as the process. One that calls into an
    interpreter that is going away is unwound through C++ frames, which ends in std::terminate:
    exit code -6 after all was done and said, once in thousands of commands on a busy machine.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # the reader, such as `head`, had enough
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
