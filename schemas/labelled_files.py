"""One file of labelled texts as a table: CSV with or without a header, JSON lines or Parquet."""

import csv
import io
import json
import sys

import polars as pl
from polars.exceptions import NoDataError, PolarsError

from schemas.errors import InputCorrupt, SchemaMismatch, UsageError
from schemas.parquet import decoding, open_parquet
from schemas.storage import Storage

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet", ".parq", ".pq")


def read_table(
    storage: Storage, uri: str, *, text: str, label: str, header: bool | None = None
) -> pl.DataFrame:
    """Return all columns of a file; a CSV without a header has the columns `text` and `label`.

    Every CSV cell is a string, an empty one included, and a blank line is no row but is counted.

    Args:
        storage: The door to objects.
        uri: The file.
        text: Name of the text column.
        label: Name of the label column.
        header: Whether a CSV begins with the names of its columns. None: its first line is a
            header if it holds both names.

    Returns:
        The columns of the file, and `source_row`, counted from 0.

    Raises:
        InputMissing: There is no such file.
        InputCorrupt: It does not parse; the line is named where it is known.
        SchemaMismatch: A CSV has no header, but not just two columns, or it seems to have one.
        UsageError: It is of another kind.
    """
    suffix = uri[uri.rfind(".") :].lower()
    if suffix in (".parquet", ".parq", ".pq"):
        with open_parquet(storage, uri) as file, decoding(uri):
            table = file.read()
            table.validate(full=True)  # polars takes it for granted that strings are UTF-8
            return _numbered(pl.DataFrame(table))
    if suffix == ".csv":
        return _read_csv(uri, storage.read(uri), text, label, header)
    if suffix in (".jsonl", ".ndjson"):
        return _numbered(_read_json_lines(uri, storage.read(uri)))
    raise UsageError(f"{uri}: give a .csv, .jsonl or .parquet file")


def _numbered(table: pl.DataFrame) -> pl.DataFrame:
    return table.drop("source_row", strict=False).with_row_index("source_row")


def _read_csv(uri: str, content: bytes, text: str, label: str, header: bool | None) -> pl.DataFrame:
    try:
        table = pl.read_csv(content, has_header=False, infer_schema=False)
    except NoDataError:
        raise InputCorrupt(f"{uri} is empty") from None
    except PolarsError:
        # Without the reader's words: they quote the line that does not parse.
        raise InputCorrupt(f"{uri}{_bad_csv_line(content)} does not parse as CSV") from None
    table = _numbered(table.with_columns(pl.all().fill_null("")))
    names = [cell.strip() for cell in table.row(0)[1:]]
    if header is None:
        header = {text, label} <= set(names)
        if not header:
            _require_no_header(uri, table, text, label)
    if header:
        table = _named(uri, table, names)
    elif len(names) == 2:
        table = table.rename(dict(zip(table.columns[1:], (text, label), strict=True)))
    else:
        raise _unnamed(uri, len(names), text, label)
    return table.filter(pl.any_horizontal(pl.exclude("source_row") != ""))


def _named(uri: str, table: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return the rows below the header, under its names."""
    for name in names:
        if names.count(name) > 1:
            raise SchemaMismatch(f"{uri} has {names.count(name)} columns named {name!r}")
    table = table[1:].rename(dict(zip(table.columns[1:], names, strict=True)))
    return table.with_columns(pl.col("source_row") - 1)


def _require_no_header(uri: str, table: pl.DataFrame, text: str, label: str) -> None:
    """Refuse to take the first line for a row where it may well be a header.

    Its label is then a word that is the label of no other row.
    """
    if table.width != 3 or (text, label) != ("text", "label"):
        raise _unnamed(uri, table.width - 1, text, label)
    labels = table.to_series(2)
    first = labels[0].strip()
    if len(table) > 1 and not _is_number(first) and labels.str.strip_chars().eq(first).sum() == 1:
        raise SchemaMismatch(
            f"{uri}: the first line names no column 'text' and 'label', and its label, {first!r}, "
            "is that of no other row: if it is a header, name its columns with --text-column and "
            "--label-column; if not, say --header no"
        )


def _unnamed(uri: str, columns: int, text: str, label: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{uri}: the first line does not name {text!r} and {label!r}, and a CSV without a header "
        f"has two columns, text and label; this one has {columns}"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_json_lines(uri: str, content: bytes) -> pl.DataFrame:
    if not content.strip():
        raise InputCorrupt(f"{uri} is empty")
    try:
        return pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
    except PolarsError:
        place = _bad_json_line(content)
    raise InputCorrupt(f"{uri}{place} does not parse as JSON lines, one object a line") from None


def _bad_json_line(content: bytes) -> str:
    """Return where the first line is that holds no JSON object, as part of a message."""
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            good = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            return f", line {number},"
    return ""


def _bad_csv_line(content: bytes) -> str:
    """Return where the first record begins that does not parse, as part of a message."""
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f", line {line}, is not UTF-8 and"
    csv.field_size_limit(sys.maxsize)  # some texts are long
    reader = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    columns, last = 0, 0
    try:
        for record in reader:
            columns = columns or len(record)
            if len(record) > columns:
                return f", line {last + 1},"
            last = reader.line_num
    except csv.Error:
        return f", line {last + 1},"
    return ""
