"""Recounts the result of one chunk against its manifest: rows, values and account."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from polars.exceptions import PanicException, PolarsError

from producer.findings import Finding, FindingKind
from producer.result_file import own_schema, read_result, schema_problem
from schemas import layout
from schemas.chunks import Chunk
from schemas.errors import InputCorrupt, InputMissing
from schemas.job import Manifest, ModelPin
from schemas.results import ResultAccount
from schemas.storage import Storage

# Ranges of rows that a message names before it only counts.
NAMED_RANGES = 5


@dataclass(slots=True, kw_only=True)
class ChunkCheck:
    """What a chunk's result holds.

    Attributes:
        rows_scored: Result rows that every model has scored.
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
        found = _finding(FindingKind.RESULT_DAMAGED, chunk, f"cannot be used: {error}", chunk.rows)
        return ChunkCheck(rows_missing=chunk.rows, findings=[found])


def row_ranges(rows: Sequence[int] | NDArray[np.int64]) -> str:
    """Return sorted row numbers as text: `4-9, 12 and 30 more ranges`."""
    numbers = np.asarray(rows, dtype=np.int64)
    pieces = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    named = [f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in pieces[:NAMED_RANGES]]
    more = len(pieces) - len(named)
    return ", ".join(named) + (f" and {more} more ranges" if more else "")


def _checked(
    manifest: Manifest, chunk: Chunk, account: ResultAccount, table: pa.Table
) -> ChunkCheck:
    wrong = schema_problem(manifest, table.schema)
    if wrong:
        found = _finding(FindingKind.RESULT_SCHEMA, chunk, wrong, chunk.rows)
        return ChunkCheck(rows=table.num_rows, rows_missing=chunk.rows, findings=[found])
    spec, own = manifest.spec, own_schema(manifest)
    frame = pl.DataFrame(table.select([f.name for f in own if not pa.types.is_list(f.type)]))
    counts = _count(frame, manifest, chunk)
    models = list(zip(manifest.models, spec.suffixes, strict=True))
    by_model = {suffix: _count_model(frame, pin, suffix) for pin, suffix in models}
    check = ChunkCheck(
        rows=table.num_rows, rows_scored=counts["scored"], errors=_errors(table.column("error"))
    )
    rows = table.column("source_row").fill_null(-1).to_numpy()
    check.findings += _row_findings(manifest, chunk, rows, counts["foreign_file"], check)
    for pin, suffix in models:
        check.findings += _value_findings(chunk, by_model[suffix], suffix)
        if spec.all_scores:
            check.findings += _scores_findings(pin, chunk, table, suffix)
    if counts["other_error"]:
        text = f"has {counts['other_error']} rows with another error than the models have"
        check.findings.append(_finding(FindingKind.ROW_VALUES, chunk, text, counts["other_error"]))
    check.findings += _account_findings(manifest, chunk, account, check, counts)
    for name, (pin, suffix) in zip(spec.model_names, models, strict=False):
        check.scored_by[name] = by_model[suffix]["scored"]
        errors = _errors(table.column(f"error{suffix}"))
        check.findings += _model_findings(chunk, account, name, pin, by_model[suffix], errors)
    if tuple(model.name for model in account.models) != spec.model_names:
        text = "has an account of other models than the job's"
        check.findings.append(_finding(FindingKind.ACCOUNT, chunk, text, 1))
    if not check.rows_missing and table.num_rows == chunk.rows and not counts["foreign_file"]:
        ids = table.select(list(manifest.spec.id_columns))
        check.ids = ids.take(pa.array(np.argsort(rows)))
    return check


def _count(frame: pl.DataFrame, manifest: Manifest, chunk: Chunk) -> dict[str, int]:
    """Count rows by what is right or wrong with them, whatever the model."""
    suffixes = manifest.spec.suffixes

    def columns(name: str) -> list[pl.Expr]:
        return [pl.col(f"{name}{suffix}") for suffix in suffixes]

    counted = frame.select(
        foreign_file=pl.col("source_file").ne_missing(manifest.files[chunk.file].uri).sum(),
        scored=pl.col("error").is_null().sum(),
        other_error=pl.col("error").ne_missing(pl.coalesce(*columns("error"))).sum(),
        tokens=pl.sum_horizontal(*columns("n_tokens")).cast(pl.Int64).sum(),
        truncated=pl.any_horizontal(*columns("truncated")).sum(),
    )
    return {name: int(value) for name, value in counted.row(0, named=True).items()}


def _count_model(frame: pl.DataFrame, pin: ModelPin, suffix: str) -> dict[str, int]:
    """Count rows by what is right or wrong with the columns of a model."""
    label, score = pl.col(f"label{suffix}"), pl.col(f"score{suffix}")
    has_label, has_score = label.is_not_null(), score.is_not_null()
    is_error = pl.col(f"error{suffix}").is_not_null()
    regression = pin.problem_type == "regression"
    known = has_label.not_() if regression else label.is_in(pin.labels)
    in_range = pl.lit(True) if regression else score.is_between(0, 1)
    counted = frame.select(
        scored=is_error.not_().sum(),
        both=(is_error & (has_label | has_score)).sum(),
        neither=(is_error.not_() & has_score.not_()).sum(),
        unknown_label=(is_error.not_() & known.fill_null(False).not_()).sum(),
        bad_score=(has_score & (score.is_finite() & in_range).not_()).sum(),
        tokens=pl.col(f"n_tokens{suffix}").cast(pl.Int64).sum(),
        truncated=pl.col(f"truncated{suffix}").sum(),
    )
    return {name: int(value) for name, value in counted.row(0, named=True).items()}


def _errors(column: pa.ChunkedArray) -> Counter[str]:
    counts = pl.Series(column).drop_nulls().value_counts()
    return Counter(dict(counts.iter_rows()))


def _row_findings(
    manifest: Manifest,
    chunk: Chunk,
    rows: NDArray[np.int64],
    foreign_file: int,
    check: ChunkCheck,
) -> Iterator[Finding]:
    if foreign_file:
        uri = manifest.files[chunk.file].uri
        text = f"has {foreign_file} rows of another file than {uri}"
        yield _finding(FindingKind.ROWS_FOREIGN, chunk, text, foreign_file)
    expected = np.arange(chunk.row_start, chunk.row_start + chunk.rows)
    if np.array_equal(rows, expected):
        return
    counts = pl.Series("row", rows).value_counts().sort("row")
    wanted = counts.filter(pl.col("row").is_between(expected[0], expected[-1]))
    missing = np.setdiff1d(expected, wanted["row"].to_numpy(), assume_unique=True)
    twice = wanted.filter(pl.col("count") > 1)["row"].to_numpy()
    foreign = counts.join(wanted, on="row", how="anti").sort("row")["row"].to_numpy()
    check.rows_missing = len(missing)
    for kind, what, numbers in (
        (FindingKind.ROWS_MISSING, "lacks", missing),
        (FindingKind.ROWS_TWICE, "has more than once", twice),
        (FindingKind.ROWS_FOREIGN, "has of other chunks", foreign),
    ):
        if len(numbers):
            text = f"{what} {len(numbers)} rows: {row_ranges(numbers)}"
            yield _finding(kind, chunk, text, len(numbers))
    if np.any(np.diff(rows) < 0):
        text = "has its rows in another order than the corpus"
        yield _finding(FindingKind.ROWS_DISORDERED, chunk, text, len(rows))


def _value_findings(chunk: Chunk, counts: dict[str, int], suffix: str) -> Iterator[Finding]:
    for name, text in (
        ("both", "with an error and a label or score"),
        ("neither", "without error and without score"),
        ("unknown_label", "without error whose label is not one of the model"),
        ("bad_score", "with a score that cannot be"),
    ):
        if counts[name]:
            found = f"has {counts[name]} rows {text}{_of_model(suffix)}"
            yield _finding(FindingKind.ROW_VALUES, chunk, found, counts[name])


def _scores_findings(
    pin: ModelPin, chunk: Chunk, table: pa.Table, suffix: str
) -> Iterator[Finding]:
    scores, error = f"scores{suffix}", f"error{suffix}"
    lengths = pl.DataFrame(table.select([scores, error])).select(
        wrong=(pl.col(scores).list.len() != len(pin.labels)).sum(),
        unmatched=(pl.col(scores).is_null() != pl.col(error).is_not_null()).sum(),
    )
    wrong = int(lengths["wrong"][0] or 0) + int(lengths["unmatched"][0])
    if wrong:
        text = f"has {wrong} rows whose list of scores is missing, too much or of a wrong length"
        text += _of_model(suffix)
        yield _finding(FindingKind.ROW_VALUES, chunk, text, wrong)


def _account_findings(
    manifest: Manifest,
    chunk: Chunk,
    account: ResultAccount,
    check: ChunkCheck,
    counts: dict[str, int],
) -> Iterator[Finding]:
    pairs: list[tuple[str, object, object]] = [
        ("job", account.job_id, manifest.job_id),
        ("chunk", account.chunk, chunk.index),
        ("model digest", account.model_digest, manifest.model_digest),
        ("rows", account.rows, check.rows),
        ("scored rows", account.rows_scored, check.rows_scored),
        ("errors", Counter(account.errors), check.errors),
        ("tokens", account.tokens, counts["tokens"]),
        ("truncated rows", account.truncated_rows, counts["truncated"]),
    ]
    yield from _unequal(chunk, pairs)


def _model_findings(
    chunk: Chunk,
    account: ResultAccount,
    name: str,
    pin: ModelPin,
    counts: dict[str, int],
    errors: Counter[str],
) -> Iterator[Finding]:
    """Yield where the account says otherwise of a model; one it does not know is told elsewhere."""
    for said in account.models:
        if said.name == name:
            yield from _unequal(
                chunk,
                [
                    (f"model digest of {name}", said.model_digest, pin.digest),
                    (f"rows scored by {name}", said.rows_scored, counts["scored"]),
                    (f"errors of {name}", Counter(said.errors), errors),
                    (f"tokens of {name}", said.tokens, counts["tokens"]),
                    (f"truncated rows of {name}", said.truncated_rows, counts["truncated"]),
                ],
            )


def _unequal(chunk: Chunk, pairs: list[tuple[str, object, object]]) -> Iterator[Finding]:
    for name, said, found in pairs:
        if said != found:
            text = f"says {name} {_plain(said)} of itself, it should be {_plain(found)}"
            yield _finding(FindingKind.ACCOUNT, chunk, text, 1)


def _of_model(suffix: str) -> str:
    return f", by model {suffix.removeprefix('_')}" if suffix else ""


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Counter) else value


def _finding(kind: FindingKind, chunk: Chunk, text: str, count: int) -> Finding:
    return Finding(
        kind=kind, chunk=chunk.index, count=count, message=f"result of chunk {chunk.index} {text}"
    )
