"""Split labelled texts into files: `python -m worker.lifecycle.splitting --data FILE --out DIR`."""

import io
import json
from typing import Annotated, Any

import polars as pl
import typer

from schemas.errors import OutputTaken
from schemas.labelled import LABEL, LabelledTexts, read_labelled
from schemas.locations import canonical
from schemas.settings import StorageSettings, load
from schemas.storage import Storage
from worker.lifecycle import reading
from worker.lifecycle.data_warnings import WIDE_SET, half_width
from worker.lifecycle.split import SHARE, Shares, split
from worker.lifecycle.train import reporting_errors

SIDES = ("train", "validation", "test")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def write_split(storage: Storage, rows: LabelledTexts, shares: Shares, out: str) -> dict[str, Any]:
    """Write a Parquet file for each side that has rows, and return the account of it.

    Raises:
        OutputTaken: There is one of these files already; none is then written over.
        UsageError, SchemaMismatch: As `split`.
    """
    sides = pl.Series(split(rows, shares))
    folder, account = canonical(out), {}
    tables = {side: rows.rows.filter(sides == side) for side in SIDES}
    uris = {side: f"{folder}/{side}.parquet" for side, table in tables.items() if len(table)}
    taken = [uri for uri in uris.values() if storage.exists(uri)]
    if taken:
        raise OutputTaken(f"{taken[0]} exists already: give another --out")
    for side, uri in uris.items():
        content = io.BytesIO()
        tables[side].write_parquet(content)
        if not storage.create(uri, content.getvalue()):
            raise OutputTaken(f"{uri} appeared meanwhile: another command writes there")
        account[side] = {"file": uri, "rows": len(tables[side])} | _labels(rows, tables[side])
    return {"seed": shares.seed, "left_out_rows": int((sides == "left_out").sum()), **account}


def _labels(rows: LabelledTexts, table: pl.DataFrame) -> dict[str, Any]:
    if rows.problem == "regression":
        return {}
    names = LabelledTexts(rows=table, problem=rows.problem).single_labels
    counts = pl.Series(LABEL, names, pl.String).value_counts(name="rows").sort(LABEL)
    return {"labels": dict(counts.iter_rows())}


@app.command()
def command(
    data: reading.Data,
    out: Annotated[str, typer.Option(help="Folder for the files.")],
    validation: Annotated[float, typer.Option(min=0, max=0.9)] = SHARE,
    test: Annotated[float, typer.Option(min=0, max=0.9)] = SHARE,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    group_column: Annotated[str | None, typer.Option()] = None,
    time_column: Annotated[str | None, typer.Option()] = None,
    text_column: reading.TextColumn = reading.TEXT_COLUMN,
    label_column: reading.LabelColumn = reading.LABEL_COLUMN,
    problem: reading.ProblemOption = "single-label",
    label_separator: reading.Separator = reading.SEPARATOR,
    header: reading.Header = "auto",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Write train.parquet, validation.parquet and test.parquet.

    Example: python -m worker.lifecycle.splitting --data reviews.csv --out reviews-split --seed 7
    """
    columns = reading.columns_of(
        text_column, label_column, problem, label_separator, header, group_column, time_column
    )
    shares = Shares(
        validation=validation,
        test=test,
        seed=seed,
        group_column=group_column,
        time_column=time_column,
    )
    with reporting_errors():
        storage = Storage(load(StorageSettings))
        account = write_split(storage, read_labelled(storage, data, columns), shares, out)
    if as_json:
        print(json.dumps(account, indent=2, ensure_ascii=False))
        return
    for side in (side for side in SIDES if side in account):
        print(f"{account[side]['file']}  {account[side]['rows']:,} rows")
        for name, count in account[side].get("labels", {}).items():
            print(f"  {name}  {count:,}")
        width = half_width(account[side]["rows"])
        if side != "train" and width > WIDE_SET:
            print(f"warning: an accuracy on so few rows is known to ±{width:.1%} only")
    if account["left_out_rows"]:
        print(f"left out: {account['left_out_rows']:,} later rows with an earlier text")


if __name__ == "__main__":
    app()
