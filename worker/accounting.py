"""Adds up the rows of a result to what it says of itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from schemas.chunks import Chunk
from schemas.job import Manifest
from schemas.model_account import ModelAccount
from schemas.results import ResultAccount
from worker.metrics import CHUNK_SECONDS, ROW_ERRORS, ROWS, TRUNCATED, count_labels
from worker.models import LoadedModel


@dataclass(slots=True)
class _Sums:
    errors: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    truncated_rows: int = 0
    asked: int = 0
    compared: int = 0
    agreed: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, errors: pa.ChunkedArray, tokens: int, truncated: pa.ChunkedArray) -> None:
        self.errors.update(errors.drop_null().to_pylist())
        self.tokens += tokens
        self.truncated_rows += pc.sum(truncated).as_py() or 0

    def sorted_errors(self) -> dict[str, int]:
        return dict(sorted(self.errors.items()))


class Accounting:
    """Sums over the rows of a chunk's result, of all models together and of each by itself.

    Args:
        manifest: The job.
        models: Its models, loaded.
    """

    def __init__(self, manifest: Manifest, models: Sequence[LoadedModel]) -> None:
        self._manifest = manifest
        self._models = models
        self._rows = 0
        self._together = _Sums()
        self._each = [_Sums() for _ in models]

    def add(self, rows: pa.Table) -> None:
        """Take rows of the result."""
        suffixes = self._manifest.spec.suffixes
        # A canary may have no row of these in its sample.
        tokens = [pc.sum(rows.column(f"n_tokens{suffix}")).as_py() or 0 for suffix in suffixes]
        truncated = [rows.column(f"truncated{suffix}") for suffix in suffixes]
        self._rows += rows.num_rows
        self._together.add(rows.column("error"), sum(tokens), reduce(pc.or_kleene, truncated))
        for place, suffix in enumerate(suffixes):
            errors = rows.column(f"error{suffix}")
            self._each[place].add(errors, tokens[place], truncated[place])
            self._each[place].asked += rows.num_rows - rows.column(f"n_tokens{suffix}").null_count
            same = pc.equal(rows.column(f"label{suffixes[0]}"), rows.column(f"label{suffix}"))
            self._each[place].compared += rows.num_rows - same.null_count
            self._each[place].agreed += pc.sum(same).as_py() or 0
            for found in pc.value_counts(rows.column(f"label{suffix}").drop_null()).to_pylist():
                self._each[place].labels[str(found["values"])] += found["counts"]

    def count(self, seconds: float) -> None:
        """Have the metrics count the rows of a result that was created, in so many seconds."""
        CHUNK_SECONDS.observe(seconds)
        ROWS.inc(self._rows - self._together.errors.total())
        TRUNCATED.inc(self._together.truncated_rows)
        for code, rows in self._together.errors.items():
            ROW_ERRORS.labels(code).inc(rows)
        for model, sums in zip(self._models, self._each, strict=True):
            count_labels(model.pin, sums.labels)

    def account(
        self,
        chunk: Chunk,
        *,
        generation: int,
        attempt: int,
        seconds: float,
        worker: str,
        stages: dict[str, float] | None = None,
    ) -> ResultAccount:
        """Return what the result of `chunk` says of itself, all its rows having been added."""
        engines = [model.engine for model in self._models]
        return ResultAccount(
            job_id=self._manifest.job_id,
            chunk=chunk.index,
            generation=generation,
            attempt=attempt,
            model=self._manifest.model_refs,
            model_digest=self._manifest.model_digest,
            rows=chunk.rows,
            rows_scored=self._rows - self._together.errors.total(),
            errors=self._together.sorted_errors(),
            tokens=self._together.tokens,
            truncated_rows=self._together.truncated_rows,
            seconds=round(seconds, 3),
            worker=worker,
            device=engines[0].device,
            dtype=", ".join(sorted({engine.dtype for engine in engines})),
            libraries=self._models[0].libraries,
            models=self._by_model(),
            stages=stages or {},
        )

    def _by_model(self) -> tuple[ModelAccount, ...]:
        """Return the account of each of several models; a model alone has no name, and none."""
        manifest = self._manifest
        named = zip(manifest.spec.names, manifest.models, self._models, self._each, strict=False)
        return tuple(
            ModelAccount(
                name=name,
                model=pin.ref,
                model_digest=pin.digest,
                rows_scored=sums.asked - sums.errors.total(),
                errors=sums.sorted_errors(),
                tokens=sums.tokens,
                truncated_rows=sums.truncated_rows,
                dtype=model.engine.dtype,
                rows_compared=None if place == 0 else sums.compared,
                rows_agreed=None if place == 0 else sums.agreed,
            )
            for place, (name, pin, model, sums) in enumerate(named)
        )
