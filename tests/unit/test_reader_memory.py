"""Files of every shape are read in bounded memory, measured in a process of their own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import corpora
from support.texts import MILLION, ordinary_texts

# For 500,000 rows in one row group.
READER_MEMORY_MB = 80

MEASURE_READING = """
import sys
import numpy, pyarrow.compute, pyarrow.parquet
from schemas.chunks import Chunk
from schemas.job import InputFile
from schemas.storage import Storage
from worker.reader import read_windows

def memory_mb(name):
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    return int(open("/proc/self/status").read().split(name)[1].split()[0]) / 1024

uri, rows, text_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
found = Storage().stat(uri)
file = InputFile(uri=uri, size=found.size, etag=found.etag, rows=rows, row_groups=1)
chunk = Chunk(index=0, file=0, row_start=0, rows=rows, text_bytes=text_bytes)
before = memory_mb("VmHWM:")
windows = read_windows(Storage(), file, chunk, text_column="text", id_columns=["id"])
read_rows = sum(len(window) for window in windows)
print(read_rows, memory_mb("VmHWM:") - before, memory_mb("VmRSS:") - before)
"""


@dataclass(frozen=True)
class Reading:
    """Rows read, and how memory grew in MB: at its peak, and when all was read."""

    rows: int
    peak: float
    kept: float


def measured(path: Path, rows: int, text_bytes: int) -> Reading:
    """Read a whole file in a process of its own."""
    arguments = [str(path), str(rows), str(text_bytes)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE_READING, *arguments], capture_output=True, check=True
    )
    read_rows, peak, kept = run.stdout.split()
    return Reading(int(read_rows), float(peak), float(kept))


def test_half_a_million_rows_in_one_row_group_are_read_in_bounded_memory(tmp_path: Path) -> None:
    rows = 500_000
    texts = ordinary_texts(2_000)
    table = corpora.make_table([f"{texts[n % len(texts)]} {n}" for n in range(rows)])
    path = tmp_path / "a.parquet"
    corpora.write_table(path, table, row_group_rows=rows, use_dictionary=False, compression="zstd")

    reading = measured(path, rows, table["text"].nbytes)

    assert reading.rows == rows
    assert reading.peak < READER_MEMORY_MB


def test_a_long_text_stored_once_and_repeated_hundreds_of_times_does_not_explode(
    tmp_path: Path,
) -> None:
    rows = 450  # 450 MB in all, 1 MB in the file's dictionary
    table = corpora.make_table(["x y " * (MILLION // 4)] * rows)
    path = corpora.write_table(tmp_path / "a.parquet", table)

    reading = measured(path, rows, MILLION)

    assert reading.rows == rows
    assert reading.peak < 300


def test_documents_of_a_million_bytes_in_small_pages_are_read_in_bounded_memory(
    tmp_path: Path,
) -> None:
    path, rows = write_long_documents(tmp_path, write_batch_size=16)

    reading = measured(path, rows, rows * MILLION)

    assert reading.rows == rows
    assert reading.peak < 200


def test_a_page_is_as_large_as_its_writer_made_it_but_its_memory_is_given_back(
    tmp_path: Path,
) -> None:
    path, rows = write_long_documents(tmp_path, use_dictionary=False)

    reading = measured(path, rows, rows * MILLION)

    assert reading.rows == rows
    assert reading.peak > rows  # all texts in one page: docs/concepts.md names this bound
    assert reading.kept < 60


def write_long_documents(folder: Path, **options: object) -> tuple[Path, int]:
    """Write 300 different texts of a million bytes as one row group."""
    rows = 300
    table = corpora.make_table([f"{n:08}" + "x y " * (MILLION // 4 - 2) for n in range(rows)])
    path = corpora.write_table(folder / "a.parquet", table, row_group_rows=rows, **options)
    return path, rows
