"""`replay`: score a chunk again on this machine, to see why it failed."""

from typing import Annotated

import typer

from producer.cli.options import Job
from producer.cli.running import Device

PANEL = "Dead chunks"


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("replay", rich_help_panel=PANEL)(replay)


def replay(
    job: Job,
    chunk: Annotated[int, typer.Option("--chunk", min=0, metavar="N", help="The chunk.")],
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="A:B",
            help="Only the rows from A up to, not including, B of its file.",
            show_default=False,
        ),
    ] = None,
    careful: Annotated[
        bool,
        typer.Option(
            "--careful",
            help="In small pieces, each said before it is scored: for a process killed.",
        ),
    ] = False,
    verbatim: Annotated[
        bool,
        typer.Option("--verbatim", help="Show an error as it was raised; it may quote a row."),
    ] = False,
    device: Device = None,
) -> None:
    """Score a chunk of a job again on this machine, and say what becomes of it.

    With the settings and the model of its manifest. Nothing of the job is changed, and its result
    is thrown away. Exit code 3 when the chunk fails.

    Example: bulkscore replay s3://lake/scored --chunk 42
    """
    from producer.deployment import Deployment
    from producer.jobs import find_manifest
    from producer.local import require_worker
    from producer.processes import become, options

    require_worker()
    output = find_manifest(Deployment.from_environment(), job).spec.output
    given = options(chunk=chunk, rows=rows, careful=careful, verbatim=verbatim, device=device)
    become("worker.replay", [*given, "--", output])
