"""Which of the weights that `train` passes through are kept, as options.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

CHOOSING = "Choosing weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """Which weights are kept."""

    validation_data: Annotated[
        list[str] | None,
        typer.Option(
            "--validation-data",
            metavar="URI",
            help="Labelled texts to choose the weights by.",
            show_default=False,
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            metavar="N",
            help="Stop after N validations without gain.",
            show_default="never",
            rich_help_panel=CHOOSING,
        ),
    ] = None
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Of validation, by which weights are chosen: macro_f1, accuracy, micro_f1, "
            "exact_match, rmse, mae, r2, spearman or loss.",
            show_default="macro_f1; of a regression rmse",
            rich_help_panel=CHOOSING,
        ),
    ] = None
    validations: Annotated[
        int,
        typer.Option(
            "--validations", min=1, metavar="N", help="In an epoch.", rich_help_panel=CHOOSING
        ),
    ] = 1
    validation_share: Annotated[
        float,
        typer.Option(
            "--validation-share",
            min=0.01,
            max=0.5,
            metavar="SHARE",
            help="Of the data, put aside by --seed for --patience and --search where there are no "
            "validation data.",
            rich_help_panel=CHOOSING,
        ),
    ] = 0.1
    search: Annotated[
        int,
        typer.Option(
            "--search",
            min=0,
            metavar="N",
            help="Try N batch sizes and learning rates first, and train with the best.",
            rich_help_panel=CHOOSING,
        ),
    ] = 0
