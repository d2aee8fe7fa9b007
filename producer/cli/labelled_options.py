"""What labelled texts are, as options of all commands that read them.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

Problem = Literal["single-label", "multi-label", "regression"]
TestData = Annotated[
    list[str] | None,
    typer.Option(
        "--test-data", metavar="URI", help="Labelled texts to evaluate on.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledData:
    """Where labelled texts are, and how their files are read."""

    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="URI",
            help="Labelled texts: .csv, .jsonl, .parquet or a folder of them, local or s3://; may "
            "be given several times.",
            show_default=False,
        ),
    ]
    text_column: Annotated[
        str, typer.Option("--text-column", metavar="NAME", help="Column of the text.")
    ] = "text"
    label_column: Annotated[
        str, typer.Option("--label-column", metavar="NAME", help="Column of the label.")
    ] = "label"
    label_separator: Annotated[
        str,
        typer.Option(
            "--label-separator",
            metavar="TEXT",
            help="Between the labels of one cell (multi-label).",
        ),
    ] = "|"
    header: Annotated[
        Literal["auto", "yes", "no"],
        typer.Option(
            "--header",
            help="Whether a .csv begins with the names of its columns; auto: if its first line "
            "names the columns of text and label. Without a header the columns are text and "
            "label.",
        ),
    ] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemData(LabelledData):
    """Labelled texts, and what a label of theirs is."""

    problem: Annotated[
        Problem,
        typer.Option(
            "--problem",
            help="One label a text; any number of them, as a list or in one cell; or a number.",
        ),
    ] = "single-label"
