"""Puts the rows of two sides together, by their place in the corpus or by an id.

Neither way keeps more than a bounded number of rows in memory: by place, a chunk of each side and
those read ahead; by id, one of 64 parts into which the rows are dealt on disk.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from producer.compare_side import Side
from schemas.errors import UsageError
from schemas.storage_errors import translated

PARTS = 64
# Rows that are dealt out at a time.
DEALT_ROWS = 500_000


@dataclass(slots=True)
class Pairing:
    """Rows put together, and those that have no counterpart.

    Attributes:
        only_a: Rows that the first side alone has; `only_b` likewise.
        ambiguous: Rows left out because their id is null or not theirs alone.
    """

    only_a: int = 0
    only_b: int = 0
    ambiguous: int = 0
    files_only_a: list[str] = field(default_factory=list)
    files_only_b: list[str] = field(default_factory=list)

    def by_place(self, a: Side, b: Side) -> Iterator[pl.DataFrame]:
        """Yield the rows that both sides have, by source file and row.

        The columns are `file`, `row`, and those of each side with `_a` or `_b` behind their names.

        Raises:
            UsageError: The sides have no file in common.
        """
        files_a, files_b = a.chunks_of_file, b.chunks_of_file
        common = [file for file in files_a if file in files_b]
        if not common:
            raise UsageError(
                f"jobs {a.manifest.job_id} and {b.manifest.job_id} have no source file in common: "
                "put their rows together by an id with --on NAME"
            )
        self.files_only_a = [file for file in files_a if file not in files_b]
        self.files_only_b = [file for file in files_b if file not in files_a]
        self.only_a += sum(map(a.rows_in, self.files_only_a))
        self.only_b += sum(map(b.rows_in, self.files_only_b))
        for file in common:
            for left, right in in_step(a.read(files_a[file]), b.read(files_b[file])):
                if left is None or right is None:
                    self.only_a += 0 if left is None else len(left)
                    self.only_b += 0 if right is None else len(right)
                else:
                    yield self._join(left, right, on="row").with_columns(file=pl.lit(file))

    def by_id(self, a: Side, b: Side, name: str) -> Iterator[pl.DataFrame]:
        """Yield the rows that both sides have, by an id column; columns as `by_place`, and `id`.

        `file` and `row` are those of the first side.

        Raises:
            UsageError: A side has no such id column.
        """
        for one in (a, b):
            if name not in one.manifest.spec.id_columns:
                known = ", ".join(one.manifest.spec.id_columns) or "none"
                raise UsageError(
                    f"the result of job {one.manifest.job_id} has no id column {name!r}; "
                    f"it has: {known}"
                )
        with tempfile.TemporaryDirectory(prefix="bulkscore-compare-") as folder:
            with translated(folder):
                kinds = [_deal(one, name, Path(folder) / str(n)) for n, one in enumerate((a, b))]
            for part in range(PARTS):
                left, right = (
                    self._unique(_part(Path(folder) / str(n), part, kind))
                    for n, kind in enumerate(kinds)
                )
                yield self._join(left, right.drop("file", "row"), on="id")

    def _unique(self, rows: pl.DataFrame) -> pl.DataFrame:
        kept = rows.filter(pl.col("id").is_not_null() & pl.col("id").is_unique())
        self.ambiguous += len(rows) - len(kept)
        return kept

    def _join(self, left: pl.DataFrame, right: pl.DataFrame, *, on: str) -> pl.DataFrame:
        shared = {on, "file", "row"}
        left = left.rename({n: f"{n}_a" for n in left.columns if n not in shared})
        right = right.rename({n: f"{n}_b" for n in right.columns if n not in shared})
        both = left.join(right, on=on, how="inner", maintain_order="left")
        self.only_a += len(left) - len(both)
        self.only_b += len(right) - len(both)
        return both


def in_step(
    left: Iterable[pl.DataFrame], right: Iterable[pl.DataFrame]
) -> Iterator[tuple[pl.DataFrame | None, pl.DataFrame | None]]:
    """Cut two sequences of frames, whose `row` rises, at the same rows; keep one frame of each.

    None stands for a side that has ended.
    """
    streams = (iter(left), iter(right))
    held = [_next(stream) for stream in streams]
    while any(frame is not None for frame in held):
        end = min(int(frame["row"][-1]) for frame in held if frame is not None)
        cut: list[pl.DataFrame | None] = []
        for number, frame in enumerate(held):
            if frame is None:
                cut.append(None)
                continue
            place = int(frame["row"].search_sorted(end, side="right"))
            cut.append(frame[:place])
            held[number] = frame[place:] if place < len(frame) else _next(streams[number])
        yield cut[0], cut[1]


def _next(stream: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    """Return the next frame that has rows."""
    return next((frame for frame in stream if len(frame)), None)


def _deal(one: Side, name: str, folder: Path) -> dict[str, pl.DataType]:
    """Write the rows of a side into `PARTS` parts by their id; return the columns of a part."""
    folder.mkdir()
    held: list[pl.DataFrame] = []
    schema: dict[str, pl.DataType] = {}
    rounds = 0
    for file, chunks in one.chunks_of_file.items():
        for frame in one.read(chunks, extra=(name,)):
            held.append(
                frame.rename({name: "id"}).with_columns(
                    pl.col("id").cast(pl.String), file=pl.lit(file)
                )
            )
            schema = dict(held[-1].schema)
            if sum(map(len, held)) >= DEALT_ROWS:
                _write(held, folder, rounds)
                held, rounds = [], rounds + 1
    if held:
        _write(held, folder, rounds)
    return schema


def _write(held: list[pl.DataFrame], folder: Path, number: int) -> None:
    frame = pl.concat(held).with_columns(part=pl.col("id").hash(seed=1) % PARTS)
    for (part,), rows in frame.partition_by("part", as_dict=True, include_key=False).items():
        rows.write_ipc(folder / f"{part}-{number}.arrow")


def _part(folder: Path, part: int, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    frames = [pl.read_ipc(path) for path in folder.glob(f"{part}-*.arrow")]
    return pl.concat([pl.DataFrame(schema=schema), *frames])
