"""Labelled texts to train and evaluate on: CSV without a header, Parquet or JSON lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.errors import InputCorrupt, InputMissing, SchemaMismatch, UsageError

TEXT, LABEL = "text", "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledTexts:
    """Texts with the label of each, as written in the file."""

    texts: list[str]
    labels: list[str]


def read_labelled(path: Path) -> LabelledTexts:
    """Read `text` and `label` from a file; a CSV has no header and just these two columns.

    Raises:
        InputMissing: There is no such file.
        InputCorrupt: It does not parse.
        SchemaMismatch: A column is absent, or a text or label is null.
        UsageError: It is of another kind.
    """
    if not path.is_file():
        raise InputMissing(f"{path} does not exist")
    try:
        table = _read(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        # Without the reader's words: they quote the line that does not parse.
        raise InputCorrupt(f"{path} does not parse ({type(error).__name__})") from None
    missing = [name for name in (TEXT, LABEL) if name not in table.columns]
    if missing:
        raise SchemaMismatch(
            f"{path} has no column {missing[0]!r}; it has {', '.join(table.columns)}"
        )
    table = table.select(pl.col(TEXT).cast(pl.String), pl.col(LABEL).cast(pl.String))
    if table.null_count().row(0) != (0, 0):
        raise SchemaMismatch(f"{path} has rows without a text or without a label")
    if not len(table):
        raise SchemaMismatch(f"{path} has no rows")
    return LabelledTexts(texts=table[TEXT].to_list(), labels=table[LABEL].to_list())


def _read(path: Path) -> pl.DataFrame:
    match path.suffix.lower():
        case ".csv":
            return pl.read_csv(
                path, has_header=False, new_columns=[TEXT, LABEL], infer_schema=False
            )
        case ".parquet":
            return pl.read_parquet(path)
        case ".jsonl" | ".ndjson":
            return pl.read_ndjson(path)
    raise UsageError(f"{path}: give a .csv, .parquet or .jsonl file")


def label_names(labels: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the labels in the order of the logits.

    Args:
        labels: The labels in the data.
        given: Names chosen by the user: the labels themselves in an order of choice, or names
            for the numbers 0 to n-1 in the data.

    Raises:
        UsageError: The names do not fit the data, or there are fewer than two labels.
    """
    found = set(labels)
    if given is None:
        numbers = all(label.isdecimal() for label in found)
        names = tuple(sorted(found, key=int) if numbers else sorted(found))
    else:
        names = tuple(given)
        numbers_of_names = {str(i) for i in range(len(names))}
        if len(set(names)) != len(names) or not (found <= set(names) or found <= numbers_of_names):
            raise UsageError(
                f"the labels {', '.join(names)} do not name those of the data: "
                f"{', '.join(sorted(found)[:10])}"
            )
    if len(names) < 2:
        raise UsageError(f"training needs at least two labels, the data has {', '.join(names)}")
    return names


def label_indices(labels: Sequence[str], names: Sequence[str], path: Path) -> list[int]:
    """Return the index of each label among `names`, or the number it is written as.

    Raises:
        UsageError: A label in the file is none of them.
    """
    by_name = {name: i for i, name in enumerate(names)}
    by_number = {str(i): i for i in range(len(names))}
    table = by_name if set(labels) <= by_name.keys() else by_number
    unknown = sorted(set(labels) - table.keys())
    if unknown:
        raise UsageError(f"{path}: label {unknown[0]!r} is none of {', '.join(names)}")
    return [table[label] for label in labels]
