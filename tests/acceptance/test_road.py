"""The road of a model, as the script of the docs goes it: from labelled texts and back again."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from schemas.registry import Registry
from schemas.storage import Storage
from support.data import REPOSITORY
from support.sentences import sentences

ROWS = 100
SECONDS = 600  # two minutes on quiet cores

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(SECONDS + 60)]


@pytest.mark.slow  # its steps are tested one by one
def test_the_road_of_a_model_is_what_the_docs_say(tmp_path: Path) -> None:
    sentences(400, seed=1).write_csv(tmp_path / "train.csv")
    sentences(100, seed=2).write_csv(tmp_path / "test.csv")
    corpus = sentences(ROWS, seed=3)
    pl.DataFrame({"id": range(ROWS), "text": corpus["text"]}).write_parquet(
        tmp_path / "corpus.parquet"
    )
    commands = Path(sys.executable).parent  # `bulkscore` is there

    done = subprocess.run(
        ["bash", str(REPOSITORY / "docs" / "road.sh"), str(tmp_path)],
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    registry = Registry(Storage(), str(tmp_path / "road" / "models"))
    first, second = sorted(registry.versions("sentiment"), key=lambda version: version.version)
    assert second.parent is not None
    assert second.parent.ref == first.ref == "sentiment@1"
    moves = [e for e in registry.history("sentiment") if e.alias == "prod"]
    assert [(e.action, e.version) for e in moves] == [
        ("promote", "1"),
        ("promote", "2"),
        ("rollback", "1"),
    ]
    assert registry.resolve("sentiment@prod").version == "1"
    by = {name: pq.read_table(tmp_path / "road" / f"scored-by-{name}") for name in "12"}
    for table in by.values():
        right = [
            int(label) == wanted
            for label, wanted in zip(table["label"].to_pylist(), corpus["label"], strict=True)
        ]
        assert sum(right) > 0.9 * ROWS
    assert by["1"]["score"] != by["2"]["score"]
    size = [sum(f.size for f in version.files) for version in (first, second)]
    assert size[1] < size[0]
