"""Labels for a corpus that has none, guessed by rules, written as Parquet to train on."""

import io
from collections.abc import Callable, Iterator, Sequence

import polars as pl
import pyarrow as pa

from producer.corpus import find_files
from producer.rules import Rules
from producer.votes import LabelReport, Voting
from schemas.errors import OutputTaken, SchemaMismatch
from schemas.labelled import FILE, LABEL, ROW, TEXT, LabelledTexts
from schemas.locations import canonical
from schemas.objects import ObjectStat
from schemas.parquet import decoding, is_text, open_parquet
from schemas.storage import Storage

BATCH_ROWS = 4_096
# Text in one object of the output: below what can be created in one request.
PART_BYTES = 64 * 1024 * 1024

Progress = Callable[[int], None]


def label_corpus(
    storage: Storage,
    rules: Rules,
    inputs: Sequence[str],
    text_column: str,
    output: str,
    *,
    labelled: LabelledTexts | None = None,
    progress: Progress = lambda _rows: None,
) -> LabelReport:
    """Write the rows of a corpus that the rules label as Parquet under `output`.

    The objects have `text`, `label`, `source_file` and `source_row`, as training reads them.
    Rows without a text, or that are not UTF-8, get no vote. Memory is bounded by `PART_BYTES`.

    Args:
        storage: The door to objects.
        rules: The rules.
        inputs: Parquet files, folders or globs.
        text_column: Column of the text.
        output: Empty or new folder or `s3://` prefix.
        labelled: Texts whose labels are known, to tell the precision of each rule by.
        progress: Told the rows so far.

    Raises:
        InputMissing, InputCorrupt: As for any corpus.
        SchemaMismatch: A file has no such text column, or known labels are none of the rules'.
        OutputTaken: The output holds something.
    """
    place = canonical(output)
    if next(storage.list_objects(place, recursive=True), None) is not None:
        raise OutputTaken(f"{place} is not empty: give another --output")
    files = find_files(storage, inputs)
    truth = _truth(rules, labelled) if labelled else None
    voting, writer = Voting(rules), _Writer(storage, place)
    rows = 0
    try:
        for file in files:
            for start, texts in _batches(storage, file, text_column):
                writer.add(_labelled(file, start, texts, voting.label(texts)))
                rows += len(texts)
                progress(rows)
        writer.flush()
    except BaseException:
        writer.remove()  # half a training set would look like a whole one
        raise
    return voting.report(truth, writer.objects)


def _labelled(file: ObjectStat, start: int, texts: pl.Series, labels: pl.Series) -> pl.DataFrame:
    """Return the rows that have a label, with their place."""
    rows = pl.DataFrame({TEXT: texts, LABEL: labels}).with_columns(
        pl.lit(file.uri).alias(FILE),
        pl.int_range(start, start + len(texts), dtype=pl.Int64).alias(ROW),
    )
    return rows.filter(pl.col(LABEL).is_not_null())


def _truth(rules: Rules, labelled: LabelledTexts) -> Voting:
    known = labelled.rows[LABEL]
    unknown = sorted(set(known.to_list()) - set(rules.labels))
    if unknown:
        row = int(known.eq(unknown[0]).arg_true()[0])
        raise SchemaMismatch(
            f"{labelled.place(row)}: label {unknown[0]!r} is none of the rules' labels: "
            f"{', '.join(rules.labels)}"
        )
    voting = Voting(rules)
    voting.count(labelled.rows[TEXT], known)
    return voting


def _batches(storage: Storage, file: ObjectStat, column: str) -> Iterator[tuple[int, pl.Series]]:
    """Yield the texts of a file, and the row each batch begins with."""
    start = 0
    with open_parquet(storage, file.uri, expected=file) as parquet:
        schema = parquet.schema_arrow
        if column not in schema.names:
            raise SchemaMismatch(
                f"{file.uri} has no column {column!r}; its columns: {', '.join(schema.names)}"
            )
        if not is_text(schema.field(column).type):
            raise SchemaMismatch(f"{file.uri}: column {column!r} holds no text")
        batches = parquet.iter_batches(BATCH_ROWS, columns=[column])
        while True:
            with decoding(file.uri):
                batch = next(batches, None)
            if batch is None:
                return
            texts = pl.Series(TEXT, _decoded(batch.column(0)))
            yield start, texts
            start += len(texts)


def _decoded(column: pa.Array) -> pa.Array:
    """Return texts, null for bytes that are not UTF-8: polars takes it for granted."""
    raw = column.cast(pa.large_binary())
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        return pa.array([_decoded_alone(value) for value in raw.to_pylist()], pa.large_string())


def _decoded_alone(value: bytes | None) -> str | None:
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None


class _Writer:
    """Collects rows and writes an object whenever there is enough."""

    def __init__(self, storage: Storage, output: str) -> None:
        self._storage, self._output = storage, output
        self._tables: list[pl.DataFrame] = []
        self._bytes = 0
        self.objects: list[str] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows, and write an object if there are enough by now."""
        if len(rows):
            self._tables.append(rows)
            self._bytes += int(rows[TEXT].str.len_bytes().sum())
        if self._bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if not self._tables:
            return
        content = io.BytesIO()
        pl.concat(self._tables).write_parquet(content)
        uri = f"{self._output}/part-{len(self.objects):06}.parquet"
        if not self._storage.create(uri, content.getvalue()):
            raise OutputTaken(f"{uri} appeared meanwhile: another command writes to this output")
        self.objects.append(uri)
        self._tables, self._bytes = [], 0

    def remove(self) -> None:
        """Delete what was written."""
        for uri in self.objects:
            self._storage.delete(uri)
