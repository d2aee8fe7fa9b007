"""Where the real test texts lie; they are not part of the repository.

The folder holds labelled CSV files (`sst2`, `ag_news`, `chnsenticorp`, ...) and
`corpus/corpus.parquet`. The variable is read when this module is imported, before the fixtures
clear `BULKSCORE_*` from the environment.
"""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
VARIABLE = "BULKSCORE_TEST_DATA"
TEST_DATA = Path(os.environ.get(VARIABLE) or REPOSITORY.parent / "shared" / "data")


def require_data(relative: str = "") -> Path:
    """Return the path of the test data, or of one file in it; skip the test if it is absent.

    Args:
        relative: Path below the data folder, such as `sst2/test.csv`.
    """
    path = TEST_DATA / relative
    if not path.exists():
        pytest.skip(f"no test data at {path}: set {VARIABLE} to the folder that holds it")
    return path
