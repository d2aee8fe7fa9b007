"""A sample of a job's result rows, spread over its chunks and over short and long texts."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from producer.result_file import read_result, schema_problem
from schemas import layout
from schemas.chunks import Chunk, ChunkTable
from schemas.errors import InputCorrupt, InputMissing, RowError
from schemas.job import Manifest
from schemas.storage import Storage

# Rows of one chunk, when there are chunks enough: more chunks say more than more of their rows,
# and cost a read of the corpus each.
ROWS_PER_CHUNK = 4
# Errors that a text has in itself. Others may be of a device, or end the process that meets them.
TEXT_ERRORS = (
    RowError.TEXT_NULL,
    RowError.TEXT_BLANK,
    RowError.TEXT_INVALID_UTF8,
    RowError.TOKENIZER_FAILED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A row as the result has it; `scores` is there only when the job kept all of them."""

    source_row: int
    label: str | None
    score: float | None
    scores: list[float] | None = None
    n_tokens: int
    truncated: bool
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSample:
    """Rows as one model has them, by their number, and the format that it computed in."""

    dtype: str
    rows: dict[int, ResultRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSample:
    """Rows of one chunk's result by each model, in the order of the manifest.

    The same rows for each; of a canary those that are in its sample as well.
    """

    chunk: int
    models: tuple[ModelSample, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Numbers of the rows within the file."""
        return tuple(self.models[0].rows)


def sample_rows(
    storage: Storage,
    manifest: Manifest,
    chunks: ChunkTable,
    results: Collection[int],
    *,
    rows: int,
    seed: int,
) -> Iterator[ChunkSample]:
    """Yield about `rows` result rows, the same for the same seed.

    A result that cannot be used is left out: the recount names it.

    Args:
        storage: Where the output lies.
        manifest: The job.
        chunks: Its chunks.
        results: Chunks that have a result.
        rows: Rows to take; all, where there are fewer.
        seed: Of the choice.
    """
    random = np.random.default_rng(seed)
    ordered = np.array(sorted(results), dtype=np.int64)
    wanted = min(len(ordered), -(-rows // ROWS_PER_CHUNK))
    for place, group in enumerate(np.array_split(ordered, wanted) if wanted else []):
        chunk = chunks[int(random.choice(group))]
        share = rows // wanted + (place < rows % wanted)
        try:
            sample = _sample_chunk(storage, manifest, chunk, share, random)
        except (InputCorrupt, InputMissing):
            continue
        if sample.rows:
            yield sample


def _sample_chunk(
    storage: Storage, manifest: Manifest, chunk: Chunk, count: int, random: np.random.Generator
) -> ChunkSample:
    uri = layout.result(manifest.spec.output, chunk.index)
    footer, table = read_result(storage, uri)
    if schema_problem(manifest, table.schema):
        raise InputCorrupt(f"{uri} has other columns than a result of this job")
    suffixes, account = manifest.spec.suffixes, footer.account
    errors = [pl.col(f"error{suffix}") for suffix in suffixes]
    frame = pl.DataFrame(table.drop(list(manifest.spec.id_columns))).filter(
        *(error.is_null() | error.is_in(TEXT_ERRORS) for error in errors),
        pl.col("source_row").is_between(chunk.row_start, chunk.row_start + chunk.rows - 1),
    )
    frame = frame[_over_lengths(frame[f"n_tokens{suffixes[0]}"].to_numpy(), count, random)]
    dtypes = [model.dtype for model in account.models] or [account.dtype]
    return ChunkSample(
        chunk=chunk.index,
        models=tuple(
            ModelSample(dtype=dtype, rows=_rows_of(frame, suffix))
            for dtype, suffix in zip(dtypes, suffixes, strict=True)
        ),
    )


def _rows_of(frame: pl.DataFrame, suffix: str) -> dict[int, ResultRow]:
    """Return the rows as the model whose columns have this suffix has them."""
    columns = {field.name: f"{field.name}{suffix}" for field in fields(ResultRow)}
    columns["source_row"] = "source_row"
    frame = frame.filter(pl.col(f"n_tokens{suffix}").is_not_null())  # what a canary has scored
    there = {name: pl.col(c) for name, c in columns.items() if c in frame.columns}
    rows = [ResultRow(**values) for values in frame.select(**there).iter_rows(named=True)]
    return {row.source_row: row for row in rows}


def _over_lengths(lengths: NDArray[np.int32], count: int, random: np.random.Generator) -> list[int]:
    """Return places of the longest row and of one from each of `count - 1` ranges below it."""
    order = np.argsort(lengths, kind="stable")
    if len(order) <= count:
        return sorted(order.tolist())
    others = np.array_split(order[:-1], count - 1) if count > 1 else []
    return sorted([int(order[-1]), *(int(random.choice(group)) for group in others)])
