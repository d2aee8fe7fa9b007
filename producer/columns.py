"""The columns that a job reads, and whether a file has them."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import SchemaMismatch, UsageError
from schemas.parquet import is_text
from schemas.results import RESERVED_COLUMNS

# An error that names the columns there are names so many at most.
COLUMNS_TOLD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns that a job reads.

    Raises:
        UsageError: An id column is named twice or like a result column.
    """

    text: str
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.ids:
            if name in RESERVED_COLUMNS:
                raise UsageError(
                    f"id column {name!r} has the name of a result column; rename it in the corpus"
                )
            if self.ids.count(name) > 1:
                raise UsageError(f"id column {name!r} is given twice")

    @property
    def all(self) -> list[str]:
        """Every column once."""
        return list(dict.fromkeys((self.text, *self.ids)))


def check_columns(uri: str, schema: pa.Schema, columns: Columns) -> None:
    """Check that a file has the columns of a job, each once, and text in the text column.

    Raises:
        SchemaMismatch: It has not; file, column and the columns there are are named.
    """
    for name in columns.all:
        count = schema.names.count(name)
        if count == 0:
            raise SchemaMismatch(f"{uri} has no column {name!r}; its columns: {_named(schema)}")
        if count > 1:
            raise SchemaMismatch(f"{uri} has {count} columns named {name!r}")
    kind = schema.field(columns.text).type
    if not is_text(kind):
        raise SchemaMismatch(
            f"{uri}: column {columns.text!r} is {kind}; a text column holds strings or UTF-8 "
            f"bytes; its columns: {_named(schema)}"
        )


def leaf_of(schema: pq.ParquetSchema, column: str) -> int:
    """Return the number of a column of the top level among all leaves of the schema."""
    for number, name in enumerate(schema.names):
        # A leaf of the same name inside a struct has a longer path.
        if name == column and schema.column(number).path == column:
            return number
    raise pa.ArrowInvalid(f"the footer's two schemas disagree on column {column!r}")


def _named(schema: pa.Schema) -> str:
    """Return the columns with their types; of a very wide table those in front."""
    shown = ", ".join(f"{f.name} ({str(f.type)[:40]})" for f in list(schema)[:COLUMNS_TOLD])
    more = len(schema) - COLUMNS_TOLD
    return f"{shown} and {more} more" if more > 0 else shown or "none"
