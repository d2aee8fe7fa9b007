"""Compares what two jobs, or two models of one job, say of the same rows."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import polars as pl

from producer.agreement import cohen_kappa, share_of
from producer.compare_record import (
    ComparedModel,
    Comparison,
    ErrorMove,
    LabelMove,
    MovedRow,
    ScoreShift,
)
from producer.compare_rows import Pairing
from producer.compare_shift import is_regression, with_shift
from producer.compare_side import Side, side
from producer.compare_sketch import Sketch
from schemas import layout
from schemas.errors import UsageError
from schemas.job import Manifest
from schemas.parquet import decoding, open_parquet
from schemas.storage import Storage
from schemas.survey import survey

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
# Edges of the histogram of probabilities: most rows move little, those that move much matter.
EDGES = (-1.0, -0.5, -0.25, -0.1, -0.05, -0.01, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
REGRESSION_BINS = 10
MOVED_ROWS = 20
FEW_MOVED_ROWS = 5
NAMED_FILES = 10

Progress = Callable[[int, int], None]


def compare(
    a: Side,
    b: Side,
    *,
    on: str | None = None,
    most: int = MOVED_ROWS,
    progress: Progress = lambda _done, _all: None,
) -> Comparison:
    """Compare two sides row by row, in bounded memory.

    Args:
        a: What was before.
        b: What is to be compared with it.
        on: Id column by which rows belong together; source file and row when None.
        most: How many of the rows that moved most are named.
        progress: Told how many rows of the first side are compared, out of all.

    Raises:
        UsageError: The models are of kinds that cannot be compared, or no row can have a
            counterpart.
        InputCorrupt: A result cannot be read.
    """
    if ("regression" in (a.pin.problem_type, b.pin.problem_type)) and not is_regression(a, b):
        raise UsageError(
            f"{a.pin.ref} is a model for {a.pin.problem_type}, {b.pin.ref} one for "
            f"{b.pin.problem_type}: they cannot be compared"
        )
    pairing, sums = Pairing(), _Sums(a=a, b=b, most=most)
    pairs = pairing.by_place(a, b) if on is None else pairing.by_id(a, b, on)
    of_all = sum(map(a.rows_in, a.chunks_of_file))
    for rows in pairs:
        sums.add(rows)
        progress(sums.rows, of_all)
    if a.manifest is b.manifest and (a.is_canary or b.is_canary):
        pairing.only_a = pairing.only_b = 0  # nobody was asked about rows outside the sample
    return _comparison(pairing, sums)


def compare_models(storage: Storage, manifest: Manifest) -> list[Comparison]:
    """Compare each model of a job with its first; none where it has one model or no result yet.

    Raises:
        InputCorrupt: A result cannot be read.
    """
    if not manifest.spec.names or not survey(storage, manifest).results:
        return []
    first, *others = (side(storage, manifest, name) for name in manifest.spec.names)
    return [
        compare(first, other, most=FEW_MOVED_ROWS)
        for other in others
        if first.pin.problem_type == other.pin.problem_type
    ]


@dataclass(slots=True, kw_only=True)
class _Sums:
    """Sums over pairs of rows."""

    a: Side
    b: Side
    most: int
    rows: int = 0
    compared: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    shifts: Sketch = field(default_factory=Sketch)
    moved: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows that both sides have."""
        self.rows += len(rows)
        scored = pl.col("error_a").is_null() & pl.col("error_b").is_null()
        self.errors.update(_counted(rows.filter(~scored), "error"))
        both = with_shift(rows.filter(scored), self.a, self.b)
        self.compared += len(both)
        if not is_regression(self.a, self.b):
            self.moves.update(_counted(both, "label"))
        self.shifts.add(both["shift"])
        kept = both.filter(pl.col("moved") > 0).drop("scores_a", "scores_b", strict=False)
        known = [kept] if self.moved is None else [self.moved, kept]
        # By place as well, so that of equal ones always the same are named.
        self.moved = (
            pl.concat(known)
            .sort("moved", "file", "row", descending=[True, False, False])
            .head(self.most)
        )


def _counted(rows: pl.DataFrame, name: str) -> dict[tuple[str, str], int]:
    counted = rows.group_by(f"{name}_a", f"{name}_b").len()
    return {(before, after): count for before, after, count in counted.iter_rows()}


def _comparison(pairing: Pairing, sums: _Sums) -> Comparison:
    a, b = sums.a, sums.b
    same = sum(rows for (before, after), rows in sums.moves.items() if before == after)
    labelled = not is_regression(a, b)
    return Comparison(
        a=_model(a),
        b=_model(b),
        rows=sums.rows,
        rows_only_a=pairing.only_a,
        rows_only_b=pairing.only_b,
        rows_ambiguous=pairing.ambiguous,
        files_only_a=tuple(pairing.files_only_a[:NAMED_FILES]),
        files_only_b=tuple(pairing.files_only_b[:NAMED_FILES]),
        rows_compared=sums.compared,
        errors=tuple(
            ErrorMove(before=before, after=after, rows=rows)
            for (before, after), rows in sums.errors.most_common()
        ),
        agreement=share_of(same, sums.compared) if labelled else None,
        kappa=cohen_kappa(sums.moves) if labelled else None,
        label_moves=tuple(
            LabelMove(before=before, after=after, rows=rows)
            for (before, after), rows in sorted(sums.moves.items())
        ),
        shift=_score_shift(sums.shifts, regression=not labelled),
        moved_most=tuple(_moved_rows(sums)),
    )


def _model(one: Side) -> ComparedModel:
    return ComparedModel(
        job_id=one.manifest.job_id,
        output=one.manifest.spec.output,
        model=one.pin.ref,
        model_digest=one.pin.digest,
        name=one.suffix.removeprefix("_"),
    )


def _score_shift(shifts: Sketch, *, regression: bool) -> ScoreShift:
    edges = list(EDGES)
    if regression:
        low, high = shifts.quantile(0) or 0.0, shifts.quantile(1) or 0.0
        step = (high - low) / REGRESSION_BINS or 1.0
        edges = [low + step * n for n in range(REGRESSION_BINS + 1)]
    return ScoreShift(
        rows=shifts.total,
        mean=shifts.mean,
        mean_absolute=shifts.mean_absolute,
        quantiles={f"{share:g}": shifts.quantile(share) for share in QUANTILES},
        edges=tuple(edges),
        histogram=tuple(shifts.histogram(edges)),
    )


def _moved_rows(sums: _Sums) -> Iterator[MovedRow]:
    rows = sums.moved.iter_rows(named=True) if sums.moved is not None else ()
    for row in rows:
        yield MovedRow(
            source_file=row["file"],
            source_row=row["row"],
            ids=_ids(sums.a, row["file"], row["row"]),
            **{name: row[name] for name in MovedRow.model_fields if name in row},
        )


def _ids(one: Side, file: str, row: int) -> dict[str, str | None]:
    """Return the ids of a row; read for these rows alone, because ids may be wide."""
    names = list(one.manifest.spec.id_columns)
    if not names:
        return {}
    uri = layout.result(one.manifest.spec.output, one.chunk_of(file, row))
    with open_parquet(one.storage, uri) as parquet, decoding(uri):
        frame = pl.DataFrame(parquet.read(columns=["source_row", *names], use_threads=False))
    (found,) = frame.filter(pl.col("source_row") == row).select(names).head(1).iter_rows(named=True)
    return {name: None if value is None else str(value) for name, value in found.items()}
