"""Options of the commands that make or measure a model.

Imports nothing heavy: this module is loaded for `--help`.
"""

from typing import Annotated

import typer

FITTING = "Fitting"

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="Folder or s3:// prefix, NAME@VERSION or NAME@ALIAS."),
]
ModelOut = Annotated[
    str,
    typer.Option(
        "--out", metavar="PATH", help="Folder to write the model to, or NAME to register."
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=8,
        metavar="TOKENS",
        help="Tokens the model reads at once; its own limit when left out.",
        show_default=False,
    ),
]
TrainingLength = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        min=8,
        metavar="TOKENS",
        help="Cut texts after so many in training.",
        show_default="128, or what the model reads",
        rich_help_panel=FITTING,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        min=1,
        metavar="ROWS",
        help="Rows of a forward pass.",
        rich_help_panel=FITTING,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of all that is drawn.")]
Resamples = Annotated[
    int, typer.Option("--resamples", min=100, metavar="N", help="Draws of each bootstrap.")
]
