"""One side of a comparison: a job, one of its models, and what that model says of each row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from producer.ahead import map_ahead
from schemas import layout
from schemas.chunks import ChunkTable
from schemas.errors import UsageError
from schemas.job import Manifest, ModelPin
from schemas.manifest import read_chunks
from schemas.model_account import ModelAccount
from schemas.parquet import decoding, open_parquet
from schemas.results import ResultAccount, read_account
from schemas.storage import Storage
from schemas.survey import survey

CONCURRENT_READS = 4


@dataclass(frozen=True, kw_only=True)
class Side:
    """A job and the place of one of its models.

    Attributes:
        results: Chunks that have a result.
    """

    storage: Storage
    manifest: Manifest
    chunks: ChunkTable
    results: frozenset[int]
    place: int

    @property
    def pin(self) -> ModelPin:
        """The model."""
        return self.manifest.models[self.place]

    @property
    def suffix(self) -> str:
        """What stands behind the names of its columns."""
        return self.manifest.spec.suffixes[self.place]

    @property
    def is_canary(self) -> bool:
        """Whether the model has scored a sample of the rows alone."""
        return self.manifest.spec.canary is not None and self.place > 0

    @cached_property
    def chunks_of_file(self) -> dict[str, list[int]]:
        """The chunks with a result of each file, in the order of its rows."""
        files = self.chunks.column("file")
        found: dict[str, list[int]] = {}
        for chunk in sorted(self.results):
            found.setdefault(self.manifest.files[int(files[chunk])].uri, []).append(chunk)
        return found

    def rows_in(self, file: str) -> int:
        """Return how many rows of a file have a result."""
        return int(self.chunks.column("rows")[self.chunks_of_file.get(file, [])].sum())

    def read(self, chunks: Sequence[int], extra: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """Yield what the model says of the rows of each chunk.

        The columns are `row` (within the file), `label`, `score`, `scores` where the job kept all,
        `n_tokens`, `error`, and those of `extra` under their own names.

        Raises:
            InputCorrupt: A result cannot be read.
        """
        yield from map_ahead(
            lambda chunk: self._read(chunk, extra),
            chunks,
            threads=CONCURRENT_READS,
            name="compare",
        )

    def accounts(self) -> Iterator[ResultAccount | ModelAccount]:
        """Yield what the model came to in each result."""
        uris = [layout.result(self.manifest.spec.output, n) for n in sorted(self.results)]
        found = map_ahead(
            lambda uri: read_account(self.storage, uri),
            uris,
            threads=CONCURRENT_READS,
            name="accounts",
        )
        for account in found:
            yield account.models[self.place] if account.models else account

    def chunk_of(self, file: str, row: int) -> int:
        """Return the chunk that holds a row of a file."""
        chunks = self.chunks_of_file[file]
        starts = self.chunks.column("row_start")[chunks]
        return chunks[int(np.searchsorted(starts, row, side="right")) - 1]

    def _read(self, chunk: int, extra: Sequence[str]) -> pl.DataFrame:
        uri, suffix = layout.result(self.manifest.spec.output, chunk), self.suffix
        names = ["label", "score", "error", "n_tokens"]
        names += ["scores"] if self.manifest.spec.all_scores else []
        columns = {"row": "source_row"} | {name: f"{name}{suffix}" for name in names}
        with open_parquet(self.storage, uri) as file, decoding(uri):
            wanted = list(dict.fromkeys([*columns.values(), *extra]))
            frame = pl.DataFrame(file.read(columns=wanted, use_threads=False))
        frame = frame.select(**{n: pl.col(c) for n, c in columns.items()}, **{n: n for n in extra})
        # Null outside the sample of a canary, which says nothing of those rows.
        return frame.filter(pl.col("n_tokens").is_not_null()) if self.is_canary else frame


def side(storage: Storage, manifest: Manifest, name: str | None = None) -> Side:
    """Return the side of a job that one of its models makes.

    Args:
        storage: Where the job's output lies.
        manifest: The job.
        name: Of several models, which; the first when None.

    Raises:
        UsageError: The job has no model of that name, or no result yet.
    """
    names = [suffix.removeprefix("_") for suffix in manifest.spec.suffixes]
    if name is not None and name not in names:
        known = ", ".join(filter(None, names)) or "one model, without a name"
        raise UsageError(f"job {manifest.job_id} has no model named {name}; it has {known}")
    results = survey(storage, manifest).results
    if not results:
        raise UsageError(f"job {manifest.job_id} has no result yet: there is nothing to compare")
    return Side(
        storage=storage,
        manifest=manifest,
        chunks=read_chunks(storage, manifest),
        results=results,
        place=names.index(name) if name is not None else 0,
    )
