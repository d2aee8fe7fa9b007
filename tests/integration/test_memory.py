"""Invariant 9: what a worker takes does not grow with chunks, row groups or files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.data import REPOSITORY
from support.models import tiny_model

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]

# Allocators do not take the same twice: 50 MB and 1 MB were seen. All texts of the chunk at once
# would show as 330 MB, all of the row group as 400 MB and 105 MB.
LONG_MARGIN_MEGABYTES = 150
SHORT_MARGIN_MEGABYTES = 50
LONG_TEXT = 8_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", layers=1)


def write_corpus(path: Path, rows: int, characters: int) -> Path:
    """Write different texts of so many characters, all of them in one row group."""
    words = np.random.default_rng(0).integers(100, 999, size=rows + characters // 4 + 1)
    letters = " ".join(map(str, words))
    texts = [letters[4 * i : 4 * i + characters] for i in range(rows)]
    table = pa.table({"id": pa.array(range(rows)), "text": texts})
    # Small pages: Arrow unpacks one as a whole, which is a bound of its own.
    pq.write_table(table, path, row_group_size=rows, use_dictionary=False, write_batch_size=64)
    return path


def peak(model: Path, corpus: Path, *, chunk_rows: int, chunk: int = 0) -> int:
    """Score a chunk in a process of its own and return the megabytes it took at most."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "support.peak_memory", str(model), str(corpus)),
            *(str(corpus.with_suffix("")), str(chunk_rows), str(chunk)),
        ],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows, megabytes = map(int, done.stdout.split())
    assert rows == chunk_rows
    return megabytes


def test_ten_times_as_long_a_chunk_of_long_texts_takes_no_more_memory(
    model: Path, tmp_path: Path
) -> None:
    small = write_corpus(tmp_path / "small.parquet", 3_000, LONG_TEXT)
    large = write_corpus(tmp_path / "large.parquet", 30_000, LONG_TEXT)

    grown = peak(model, large, chunk_rows=30_000) - peak(model, small, chunk_rows=3_000)

    assert grown < LONG_MARGIN_MEGABYTES


@pytest.mark.slow
def test_a_chunk_in_the_middle_of_a_giant_row_group_takes_no_more_memory(
    model: Path, tmp_path: Path
) -> None:
    small = write_corpus(tmp_path / "small.parquet", 100_000, 40)
    large = write_corpus(tmp_path / "large.parquet", 1_000_000, 40)

    before = peak(model, small, chunk_rows=5_000, chunk=10)
    grown = peak(model, large, chunk_rows=5_000, chunk=100) - before

    assert grown < SHORT_MARGIN_MEGABYTES
