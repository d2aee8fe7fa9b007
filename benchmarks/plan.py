"""Measures planning: reading footers of many files, and cutting a corpus of a billion rows.

    python benchmarks/plan.py [--files 2000] [--big-files 10000]

Each case runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from producer.corpus import find_files
from producer.footers import Footer, read_footers
from producer.plan import make_plan
from schemas.objects import ObjectStat
from schemas.storage import Storage

GROUPS = 10
GROUP_ROWS = 10_000
CHUNK_ROWS = 2_000


def main() -> None:
    """Run all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2_000, help="real files to read footers of")
    parser.add_argument("--big-files", type=int, default=10_000, help="simulated files to cut")
    options = parser.parse_args()
    print(f"{'case':<58}{'seconds':>9}{'peak RSS':>11}{'above start':>13}")
    with tempfile.TemporaryDirectory() as folder:
        measured(write_files, folder, options.files)
        run(f"list {options.files:,} local files", list_files, folder)
        name = f"list, read {options.files:,} footers of {GROUPS} row groups, cut"
        run(name, plan_files, folder)
    rows = options.big_files * GROUPS * GROUP_ROWS
    name = f"cut {rows / 1e9:g} billion rows in {options.big_files:,} files"
    run(f"{name}, row groups alike", cut_simulated, options.big_files, False)
    run(f"{name}, skewed", cut_simulated, options.big_files, True)


def run(name: str, case: Callable[..., str], *arguments: object) -> None:
    """Run a case in a process of its own and print its line."""
    seconds, peak, start, said = measured(case, *arguments)
    print(f"{name:<58}{seconds:>9.2f}{peak:>8.0f} MB{peak - start:>10.0f} MB   {said}")


def measured(case: Callable[..., str], *arguments: object) -> tuple[float, float, float, str]:
    """Return seconds, peak and starting memory in MB, and what the case says."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (case, *arguments))


def _measure(case: Callable[..., str], *arguments: object) -> tuple[float, float, float, str]:
    start = _peak_mb()
    began = time.perf_counter()
    said = case(*arguments)
    return time.perf_counter() - began, _peak_mb(), start, said


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_files(folder: str, files: int) -> str:
    """Write small files of 10 row groups, in folders of 100."""
    table = pa.table({"id": range(50), "text": [f"row {n} " * 5 for n in range(50)]})
    for number in range(files):
        path = Path(folder) / f"{number // 100:04}" / f"{number:06}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path, row_group_size=5)
    return ""


def list_files(folder: str) -> str:
    """Find the files."""
    return f"{len(find_files(Storage(), [folder])):,} files"


def plan_files(folder: str) -> str:
    """Find the files, read their footers and cut them."""
    storage = Storage()
    files = find_files(storage, [folder])
    footers, _ = read_footers(storage, files, text_column="text", id_columns=("id",))
    return f"{len(make_plan(footers, CHUNK_ROWS).chunks):,} chunks"


def cut_simulated(files: int, skewed: bool) -> str:
    """Cut a corpus of which only the footers exist, and write its chunk table."""
    random = np.random.default_rng(0)
    footers = []
    for number in range(files):
        average = random.lognormal(6, 1, GROUPS) if skewed else np.full(GROUPS, 400.0)
        rows = random.integers(1, 2 * GROUP_ROWS, GROUPS) if skewed else np.full(GROUPS, GROUP_ROWS)
        file = ObjectStat(uri=f"s3://lake/corpus/{number:06}.parquet", size=1 << 24, etag="e" * 32)
        footer = Footer(
            file=file,
            group_rows=rows.astype(np.int64),
            group_text_bytes=(rows * average).astype(np.int64),
            id_types=(pa.int64(),),
        )
        footers.append(footer)
    plan = make_plan(footers, CHUNK_ROWS)
    size = len(plan.chunks.to_bytes())
    return f"{len(plan.chunks):,} chunks of {plan.rows:,} rows, table of {size / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
