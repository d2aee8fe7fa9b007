"""Recounts the result of one chunk against its manifest: rows, values and account."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException, PolarsError

from producer.account_check import account_findings, model_findings
from producer.findings import Finding, FindingKind, of_result
from producer.result_file import own_schema, read_result, schema_problem
from producer.row_check import row_findings, rows_missing
from producer.value_check import errors_of, model_columns, value_findings
from schemas import layout
from schemas.canary import samples_of
from schemas.chunks import Chunk
from schemas.errors import InputCorrupt, InputMissing
from schemas.job import Manifest
from schemas.results import ResultAccount
from schemas.storage import Storage


@dataclass(slots=True, kw_only=True)
class ChunkCheck:
    """What a chunk's result holds.

    Attributes:
        rows_scored: Result rows that every model has scored; a canary is not asked.
        rows_missing: Rows of the chunk that have no result row.
        scored_by: Rows that each of several models has scored, by its name.
        footer_sha256: That of the result's footer, None when the result cannot be used.
        ids: The id columns in the order of the chunk's rows, or None when rows are not as they
            should be, so that there is nothing to compare.
    """

    rows: int = 0
    rows_scored: int = 0
    rows_missing: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    scored_by: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    footer_sha256: bytes | None = None
    ids: pa.Table | None = None


def check_result(storage: Storage, manifest: Manifest, chunk: Chunk) -> ChunkCheck:
    """Read the result of a chunk whole and recount it.

    Raises:
        StorageUnavailable: Storage does not answer.
    """
    uri = layout.result(manifest.spec.output, chunk.index)
    try:
        footer, table = read_result(storage, uri)
        check = _checked(manifest, chunk, footer.account, table)
        check.footer_sha256 = footer.sha256
        return check
    except (InputCorrupt, InputMissing, PolarsError, PanicException) as error:
        text = f"cannot be used: {error}"
        found = of_result(FindingKind.RESULT_DAMAGED, chunk, text, chunk.rows)
        return ChunkCheck(rows_missing=chunk.rows, findings=[found])


def _checked(
    manifest: Manifest, chunk: Chunk, account: ResultAccount, table: pa.Table
) -> ChunkCheck:
    wrong = schema_problem(manifest, table.schema)
    if wrong:
        found = of_result(FindingKind.RESULT_SCHEMA, chunk, wrong, chunk.rows)
        return ChunkCheck(rows=table.num_rows, rows_missing=chunk.rows, findings=[found])
    spec, file = manifest.spec, manifest.files[chunk.file].uri
    frame = pl.DataFrame(table.select(own_schema(manifest).names))
    rows = table.column("source_row").fill_null(-1).to_numpy()
    errors = errors_of(frame["error"])
    check = ChunkCheck(
        rows=len(frame),
        rows_scored=len(frame) - errors.total(),
        rows_missing=len(rows_missing(chunk, rows)),
        errors=errors,
    )
    foreign = int((frame["source_file"] != file).fill_null(True).sum())
    if foreign:
        text = f"has {foreign} rows of another file than {file}"
        check.findings.append(of_result(FindingKind.ROWS_FOREIGN, chunk, text, foreign))
    check.findings += row_findings(chunk, rows)

    models = [
        model_columns(frame, pin, suffix, sample)
        for pin, suffix, sample in zip(
            manifest.models, spec.suffixes, samples_of(spec, file, rows), strict=True
        )
    ]
    for model in models:
        check.findings += value_findings(chunk, model)
    if other := _other_errors(frame, spec.suffixes):
        text = f"has {other} rows with another error than the models have"
        check.findings.append(of_result(FindingKind.ROW_VALUES, chunk, text, other))

    check.findings += account_findings(
        manifest,
        chunk,
        account,
        rows=check.rows,
        rows_scored=check.rows_scored,
        errors=errors,
        sums=_sums(frame, spec.suffixes),
    )
    for name, model in zip(spec.names, models, strict=False):
        check.scored_by[name] = model.counts["scored"]
        same = _same_labels(frame, spec.suffixes[0], model.suffix)
        check.findings += model_findings(chunk, account, name, model, same)
    if not check.rows_missing and len(frame) == chunk.rows and not foreign:
        ids = table.select(list(spec.id_columns))
        check.ids = ids.take(pa.array(np.argsort(rows)))
    return check


def _other_errors(frame: pl.DataFrame, suffixes: tuple[str, ...]) -> int:
    """Count rows whose error is not that of the first model that has one."""
    if "" in suffixes:
        return 0  # the column is that of the model whose columns are plain
    first = pl.coalesce(f"error{suffix}" for suffix in suffixes)
    return int(frame.select(pl.col("error").ne_missing(first).sum()).item())


def _sums(frame: pl.DataFrame, suffixes: tuple[str, ...]) -> dict[str, int]:
    """Return the tokens of all models, and the rows that are truncated for one of them."""
    summed = frame.select(
        tokens=pl.sum_horizontal(f"n_tokens{suffix}" for suffix in suffixes).cast(pl.Int64).sum(),
        truncated=pl.any_horizontal(f"truncated{suffix}" for suffix in suffixes).sum(),
    )
    return {name: int(value) for name, value in summed.row(0, named=True).items()}


def _same_labels(frame: pl.DataFrame, first: str, suffix: str) -> dict[str, int]:
    """Count the rows to which a model and the first one gave a label, and those with the same."""
    same = pl.col(f"label{first}") == pl.col(f"label{suffix}")
    counted = frame.select(compared=same.is_not_null().sum(), agreed=same.sum())
    return {name: int(value) for name, value in counted.row(0, named=True).items()}
