"""The `bulkscore` command: all families of commands on one app, and how errors end it.

Kept light: `bulkscore --help` may load typer and rich, never pyarrow, polars, s3fs, Celery or
torch. A command imports what it needs when it runs.
"""

import sys
import traceback

import typer

from producer.cli import (
    dead_letters,
    diagnosis,
    jobs,
    local,
    recovery,
    results,
    submission,
    watching,
)
from producer.cli.terminal import report_error, say
from schemas.errors import BulkError, ExitCode

HELP = """Score Parquet corpora of any size with a Hugging Face sequence classifier.

Example: bulkscore submit -i s3://lake/reviews/ -m models/sentiment --text-column text \
-o s3://lake/scored/ --wait

Exit codes: 0 all well, 1 unexpected, 2 usage or bad input, 3 some chunks have no result, 4 more \
row errors than allowed, 5 wait timed out, 69 broker or storage unreachable, 78 configuration, \
130 interrupted.
"""
FAMILIES = (submission, jobs, watching, dead_letters, results, local, recovery, diagnosis)


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
    """Run the command line; every way it can end has its exit code."""
    try:
        build_app()()
    except BulkError as error:
        report_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:
        traceback.print_exc()
        say("This is a bug in bulkscore. Please report it with the lines above.")
        sys.exit(ExitCode.UNEXPECTED)


if __name__ == "__main__":
    main()
