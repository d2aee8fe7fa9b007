"""`score` and `train`: what the worker side does with a model, without a broker.

The options are those of the modules that the commands become, which this side may not import: it
checks that the libraries are there and becomes the module. A test holds both together.
"""

from typing import Annotated

import typer

from producer.cli.option_groups import with_groups
from producer.cli.options import Json
from producer.cli.running import Device, DtypeOption
from producer.cli.training import train

PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("score", rich_help_panel=PANEL)(score)
    app.command("train", rich_help_panel=PANEL)(with_groups(train))


def score(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]REF",
            help="Folder or s3:// prefix of a model; several times for several.",
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]…", help="Left out: the lines of standard input."),
    ] = None,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Print the score of every label.")
    ] = False,
    device: Device = None,
    dtype: DtypeOption = "auto",
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Cut texts after so many tokens; the model's own limit when left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a few texts with a model, or several, for a first look; needs no broker.

    Example: bulkscore score "I would buy it again" --model models/sentiment
    """
    from producer.local import require_worker
    from producer.processes import become, options

    require_worker()
    given = options(
        model=model,
        dtype=dtype,
        device=device,
        max_length=max_length,
        all_scores=all_scores,
        json=as_json,
    )
    become("worker.score", [*given, "--", *(texts or [])])
