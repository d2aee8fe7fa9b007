"""Say what labelled data is like: `python -m worker.lifecycle.profiling --data FILE …`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from schemas.settings import StorageSettings, load
from schemas.storage import Storage
from worker.lifecycle import reading
from worker.lifecycle.profile import TokensOf, profile
from worker.lifecycle.profile_text import profile_lines
from worker.lifecycle.train import reporting_errors

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(
    data: reading.Data,
    test_data: reading.TestData = None,
    model: Annotated[str | None, typer.Option(help="Whose tokens are counted.")] = None,
    max_length: Annotated[int | None, typer.Option(min=8, help="Tokens read of a text.")] = None,
    text_column: reading.TextColumn = reading.TEXT_COLUMN,
    label_column: reading.LabelColumn = reading.LABEL_COLUMN,
    problem: reading.ProblemOption = "single-label",
    label_separator: reading.Separator = reading.SEPARATOR,
    header: reading.Header = "auto",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print what labelled data is like.

    Example: python -m worker.lifecycle.profiling --data train.csv --test-data test.csv
    """
    with reporting_errors():
        found = profile(
            Storage(load(StorageSettings)),
            data,
            test_data or [],
            reading.columns_of(text_column, label_column, problem, label_separator, header),
            TokensOf(model=model, max_length=max_length) if model else None,
        )
        if as_json:
            print(json.dumps(asdict(found), indent=2, ensure_ascii=False))
            return
        for line in profile_lines(found):
            print(line)


if __name__ == "__main__":
    app()
