"""Small sound Parquet corpora, each with one property that a reader may stumble over.

All have the columns `id` and `text`; the same arguments write the same rows. Broken files are in
`support.bad_corpora`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from support.texts import awkward_texts, invalid_utf8, ordinary_texts

TextType = Literal["string", "large_string", "string_view", "dictionary", "binary"]
IdType = Literal["string", "int64", "int32"]
TEXT_TYPES: tuple[TextType, ...] = (
    "string",
    "large_string",
    "string_view",
    "dictionary",
    "binary",
)

_ARROW_TYPES = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
}


def text_array(texts: Sequence[str | None], text_type: TextType = "string") -> pa.Array:
    """Make an array of texts in one of the ways in which corpora store them."""
    if text_type == "dictionary":
        return pa.array(texts, pa.string()).dictionary_encode()
    if text_type == "binary":
        texts_utf8 = [None if text is None else text.encode() for text in texts]
        return pa.array(texts_utf8, pa.binary())
    return pa.array(texts, _ARROW_TYPES[text_type])


def id_array(count: int, id_type: IdType = "string", *, first: int = 0) -> pa.Array:
    """Make unique ids: `doc-000000` and so on, or integers."""
    numbers = range(first, first + count)
    if id_type == "string":
        return pa.array([f"doc-{number:06}" for number in numbers], pa.string())
    return pa.array(numbers, pa.type_for_alias(id_type))


def make_table(
    texts: Sequence[str | None],
    *,
    text_type: TextType = "string",
    id_type: IdType = "string",
    first_id: int = 0,
    extra: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Make a table of ids, texts and any further columns."""
    columns = {
        "id": id_array(len(texts), id_type, first=first_id),
        "text": text_array(texts, text_type),
        **(extra or {}),
    }
    return pa.table(columns)


def write_table(
    path: Path, table: pa.Table, *, row_group_rows: int | None = None, **options: Any
) -> Path:
    """Write one file, with its folders, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_rows, **options)
    return path


def write_corpus(
    path: Path,
    rows: int = 100,
    *,
    seed: int = 0,
    text_type: TextType = "string",
    id_type: IdType = "string",
    row_group_rows: int | None = 40,
    **options: Any,
) -> Path:
    """Write an ordinary file; further options are those of `pyarrow.parquet.write_table`."""
    table = make_table(ordinary_texts(rows, seed), text_type=text_type, id_type=id_type)
    return write_table(path, table, row_group_rows=row_group_rows, **options)


def write_many_files(
    folder: Path, files: int = 20, rows_per_file: int = 50, *, seed: int = 0
) -> list[Path]:
    """Write files in two levels of folders; ids go on from file to file."""
    paths = []
    for number in range(files):
        texts = ordinary_texts(rows_per_file, seed + number)
        table = make_table(texts, first_id=number * rows_per_file)
        path = folder / f"day={number % 3}" / f"{number:04}.parquet"
        paths.append(write_table(path, table, row_group_rows=20))
    return sorted(paths)


def write_nested_columns(path: Path, rows: int = 100) -> Path:
    """Write `id` and `text` among lists, structs, maps and times that nobody asked for."""
    extra = {
        "tags": pa.array([["a", "b"][: n % 3] for n in range(rows)], pa.list_(pa.string())),
        "author": pa.array([{"name": f"n{n}", "age": n} for n in range(rows)]),
        "counts": pa.array([[("k", n)] for n in range(rows)], pa.map_(pa.string(), pa.int64())),
        "seen": pa.array([n * 1_000_000 for n in range(rows)], pa.timestamp("us", "UTC")),
    }
    return write_table(path, make_table(ordinary_texts(rows), extra=extra), row_group_rows=30)


def write_row_groups(path: Path, sizes: Iterable[int], *, seed: int = 0) -> Path:
    """Write row groups of exactly these sizes; a size may be 0, even for all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = 0
    with pq.ParquetWriter(path, make_table([]).schema) as writer:
        for number, size in enumerate(sizes):
            table = make_table(ordinary_texts(size, seed + number), first_id=first)
            writer.write_table(table, row_group_size=max(size, 1))
            first += size
    return path


def write_empty_row_groups(path: Path) -> Path:
    """Write 5 row groups, the first, third and last of them without a row."""
    return write_row_groups(path, [0, 30, 0, 20, 0])


def write_no_rows(path: Path) -> Path:
    """Write a sound file with a schema and not one row group."""
    return write_row_groups(path, [])


def write_one_row_row_groups(path: Path, rows: int = 25) -> Path:
    """Write one row group for every row."""
    return write_row_groups(path, [1] * rows)


def write_huge_row_group(path: Path, rows: int = 200_000, *, seed: int = 0) -> Path:
    """Write all rows as one row group (about 15 MB of text)."""
    texts = ordinary_texts(2_000, seed)
    table = make_table([texts[row % len(texts)] for row in range(rows)])
    return write_table(path, table, row_group_rows=rows, compression="zstd")


def write_duplicate_ids(path: Path, rows: int = 60) -> Path:
    """Write each id three times, with a different text each time."""
    table = make_table(ordinary_texts(rows))
    ids = pa.array([f"doc-{row // 3:06}" for row in range(rows)])
    return write_table(path, table.set_column(0, "id", ids), row_group_rows=20)


def write_awkward_texts(path: Path, *, text_type: TextType = "string") -> Path:
    """Write one row for every kind of awkward text; `id` is the name of the kind."""
    kinds = awkward_texts()
    table = make_table(list(kinds.values()), text_type=text_type)
    return write_table(path, table.set_column(0, "id", pa.array(list(kinds))), row_group_rows=8)


def write_invalid_utf8(path: Path, *, declared_as: Literal["binary", "string"] = "binary") -> Path:
    """Write bytes that are not UTF-8, a sound text after each; `id` names what is wrong.

    Args:
        path: File to write.
        declared_as: Type of the column; `string` is a lie that Arrow believes without looking.
    """
    names, values = [], []
    for name, value in invalid_utf8().items():
        names += [name, f"sound after {name}"]
        values += [value, b"a sound text"]
    texts = pa.array(values, pa.binary())
    if declared_as == "string":
        texts = pa.Array.from_buffers(pa.string(), len(texts), texts.buffers())
    table = pa.table({"id": names, "text": texts})
    return write_table(path, table, use_dictionary=False, write_statistics=False)
