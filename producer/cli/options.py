"""Options and arguments that several commands share, each written down once.

Imports nothing heavy: this module is loaded for `--help`.
"""

from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of text.")]
Job = Annotated[
    str, typer.Argument(metavar="JOB", help="A job id, or the URI of the job's output.")
]
OutputArgument = Annotated[
    str, typer.Argument(metavar="OUTPUT", help="The URI of a job's output: a path or s3://….")
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="URI",
        help="Where the result goes: an empty or new folder, or an s3:// prefix.",
        show_default=False,
    ),
]
PriorityOption = Annotated[
    Literal["high", "normal", "low"],
    typer.Option("--priority", help="Queue to use; workers empty the higher ones first."),
]
JobIdOption = Annotated[
    str | None,
    typer.Option(
        "--job-id",
        metavar="ID",
        help="Name of the job; made up when left out. Lower case, digits and . _ -",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0,
        help="Give up waiting after this time (exit code 5); the job goes on.",
        show_default=False,
    ),
]
