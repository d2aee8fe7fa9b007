"""Labelled texts to train, evaluate and check rules on: from files to one table.

Rows are counted from 0 within their file, a header not counted, as `source_row` of a result is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl
from polars.exceptions import PolarsError

from schemas.errors import InputMissing, SchemaMismatch, UsageError
from schemas.labelled_files import SUFFIXES, read_table
from schemas.locations import canonical
from schemas.storage import Storage

Problem = Literal["single-label", "multi-label", "regression"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

TEXT, LABEL, FILE, ROW = "text", "label", "source_file", "source_row"
LABEL_SEPARATOR = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledColumns:
    """Where in the files text and label are, and what a label is.

    Attributes:
        text: Name of the text column.
        label: Name of the label column.
        problem: One label a text; any number of them, in a list column or in one cell between
            separators; or a number.
        separator: Between the labels of one cell, where a text may have several.
        header: Whether a CSV begins with the names of its columns; None to see by its first line.
        others: Further columns to keep under their own names.
    """

    text: str = TEXT
    label: str = LABEL
    problem: Problem = "single-label"
    separator: str = LABEL_SEPARATOR
    header: bool | None = None
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledTexts:
    """Rows with a text and its label.

    Attributes:
        rows: `text` (string), `label` (string, list of strings or float64, as the problem asks),
            the other columns that were asked for, `source_file` and `source_row`.
        problem: What a label is.
    """

    rows: pl.DataFrame
    problem: Problem

    @property
    def texts(self) -> list[str]:
        """The text of each row."""
        return self.rows[TEXT].to_list()

    @property
    def labels(self) -> list[Any]:
        """What each row has for a label: a string, a list of strings or a float."""
        return self.rows[LABEL].to_list()

    @property
    def single_labels(self) -> list[str]:
        """Every label of every row, one after the other; of a regression none."""
        if self.problem == "regression":
            return []
        labels = self.rows[LABEL]
        return (
            labels.explode().drop_nulls() if self.problem == "multi-label" else labels
        ).to_list()

    def place(self, row: int) -> str:
        """Return where row `row` of the table comes from, for a message."""
        return place_of(self.rows, row)


def place_of(rows: pl.DataFrame, row: int) -> str:
    """Return file and row that row `row` of a table comes from, for a message."""
    return f"{rows[FILE][row]}, row {rows[ROW][row]}"


def read_labelled(
    storage: Storage,
    inputs: Sequence[str],
    columns: LabelledColumns = LabelledColumns(),
    *,
    complete: bool = True,
) -> LabelledTexts:
    """Read labelled texts.

    Args:
        storage: The door to objects.
        inputs: Files, folders or `s3://` prefixes; of a folder all .csv, .jsonl and .parquet files.
        columns: Where text and label are.
        complete: Refuse rows without a text or a label. Else they have null.

    Raises:
        InputMissing: An input is not there or gives no file.
        InputCorrupt: A file does not parse.
        SchemaMismatch: A column is absent or of a wrong type, a label is not of the problem, a row
            is incomplete, or there are no rows.
        UsageError: A file is of another kind.
    """
    tables = []
    for uri in _files(storage, inputs):
        table = read_table(
            storage, uri, text=columns.text, label=columns.label, header=columns.header
        )
        tables.append(_labelled(uri, table, columns))
    rows = pl.concat(tables, how="vertical_relaxed")
    if complete:
        _require_complete(rows, columns)
    if rows.is_empty():
        raise SchemaMismatch(f"{', '.join(inputs)}: there are no rows")
    return LabelledTexts(rows=rows, problem=columns.problem)


def _files(storage: Storage, inputs: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for given in inputs:
        uri = canonical(given)
        below = [
            stat.uri
            for stat in storage.list_objects(uri, recursive=True)
            if stat.uri.lower().endswith(SUFFIXES)
            and not any(part.startswith((".", "_")) for part in stat.uri[len(uri) + 1 :].split("/"))
        ]
        if not below and storage.is_folder(uri):
            raise InputMissing(f"{uri} holds no .csv, .jsonl or .parquet file")
        found |= dict.fromkeys(below or [uri])
    return list(found)


def _labelled(uri: str, table: pl.DataFrame, columns: LabelledColumns) -> pl.DataFrame:
    """Return the columns of a file that were asked for, under our names and of our types."""
    there = [name for name in table.columns if name != ROW]
    for name in (columns.text, columns.label, *columns.others):
        if name not in there:
            raise SchemaMismatch(f"{uri} has no column {name!r}; it has {', '.join(there)}")
    rows = table.select(
        _text(uri, table, columns.text).alias(TEXT),
        _label(uri, table, columns).alias(LABEL),
        *(table[name] for name in columns.others if name not in (columns.text, columns.label)),
        pl.lit(uri).alias(FILE),
        table[ROW].cast(pl.UInt32),
    )
    if columns.problem == "regression":
        _require_numbers(rows, table[columns.label], columns.label)
    return rows


def _text(uri: str, table: pl.DataFrame, name: str) -> pl.Series:
    texts = table[name]
    if texts.dtype not in (pl.String, pl.Binary, pl.Categorical, pl.Enum, pl.Null):
        raise SchemaMismatch(f"{uri}: column {name!r} is {texts.dtype}, not text")
    try:
        return texts.cast(pl.String)
    except PolarsError:
        raise SchemaMismatch(f"{uri}: column {name!r} has bytes that are not UTF-8") from None


def _label(uri: str, table: pl.DataFrame, columns: LabelledColumns) -> pl.Series:
    labels, problem = table[columns.label], columns.problem
    kind = labels.dtype
    listed = isinstance(kind, pl.List | pl.Array)
    if isinstance(kind, pl.Struct) or (listed and problem != "multi-label"):
        advice = "; several labels a text: --problem multi-label" if listed else ""
        raise SchemaMismatch(f"{uri}: column {columns.label!r} is {kind}{advice}")
    if problem == "regression":
        return labels.cast(pl.Float64, strict=False)
    if problem == "multi-label":
        lists = labels if listed else _names(uri, labels, columns).str.split(columns.separator)
        stripped = pl.element().cast(pl.String).str.strip_chars()
        return lists.cast(pl.List(pl.String)).list.eval(
            stripped.filter(stripped != "").unique(maintain_order=True)
        )
    names = _names(uri, labels, columns).str.strip_chars()
    return names.replace("", None)


def _names(uri: str, labels: pl.Series, columns: LabelledColumns) -> pl.Series:
    """Return labels as strings; whole numbers that are stored as floats lose their point."""
    if labels.dtype.is_float():
        known = labels.drop_nulls()
        if not (known == known.round()).all():
            raise SchemaMismatch(
                f"{uri}: column {columns.label!r} holds numbers with a fraction, which are no "
                "labels; to predict numbers: --problem regression"
            )
        labels = labels.cast(pl.Int64)
    return labels.cast(pl.String)


def _require_numbers(rows: pl.DataFrame, given: pl.Series, name: str) -> None:
    """Refuse values of a regression that are not finite numbers; an empty cell is no value."""
    empty = given.is_null() | (given.cast(pl.String) == "")
    bad = (~empty & ~rows[LABEL].is_finite().fill_null(False)).arg_true()
    if len(bad):
        raise SchemaMismatch(
            f"{place_of(rows, bad[0])}: column {name!r} holds no finite number{_more(len(bad))}"
        )


def _require_complete(rows: pl.DataFrame, columns: LabelledColumns) -> None:
    for ours, name in ((TEXT, columns.text), (LABEL, columns.label)):
        bad = rows[ours].is_null().arg_true()
        if len(bad):
            raise SchemaMismatch(
                f"{place_of(rows, bad[0])}: nothing in column {name!r}{_more(len(bad))}"
            )


def _more(bad: int) -> str:
    return f", and so in {bad - 1:,} more rows" if bad > 1 else ""


def require_problem(text: str) -> Problem:
    """Return the problem of this name.

    Raises:
        UsageError: There is none.
    """
    for problem in PROBLEMS:
        if text == problem:
            return problem
    raise UsageError(f"--problem {text}: give {', '.join(PROBLEMS)}")
