"""Options of the commands that read labelled data, each written down once."""

from typing import Annotated, Literal

import typer

from schemas.labelled import LABEL, LABEL_SEPARATOR, TEXT, LabelledColumns, Problem

Data = Annotated[
    list[str], typer.Option("--data", help="Labelled texts: .csv, .jsonl, .parquet or folder.")
]
ValidationData = Annotated[
    list[str] | None, typer.Option("--validation-data", help="To choose weights by.")
]
TestData = Annotated[list[str] | None, typer.Option("--test-data", help="To evaluate on.")]
TextColumn = Annotated[str, typer.Option("--text-column")]
LabelColumn = Annotated[str, typer.Option("--label-column")]
ProblemOption = Annotated[Problem, typer.Option("--problem", help="What a label is.")]
Separator = Annotated[str, typer.Option("--label-separator", help="Of the labels in one cell.")]
Header = Annotated[Literal["auto", "yes", "no"], typer.Option("--header", help="Of a .csv.")]

HEADERS: dict[str, bool | None] = {"auto": None, "yes": True, "no": False}
TEXT_COLUMN, LABEL_COLUMN, SEPARATOR = TEXT, LABEL, LABEL_SEPARATOR


def columns_of(
    text_column: str,
    label_column: str,
    problem: Problem,
    label_separator: str,
    header: str,
    *others: str | None,
) -> LabelledColumns:
    """Return the columns that are asked for, and the `others` that are given."""
    return LabelledColumns(
        text=text_column,
        label=label_column,
        problem=problem,
        separator=label_separator,
        header=HEADERS[header],
        others=tuple(dict.fromkeys(name for name in others if name)),
    )
