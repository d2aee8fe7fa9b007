"""Templated sentences whose label one word decides, to train on in seconds."""

import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl

from support.data import REPOSITORY

GOOD = ("wonderful", "excellent", "lovely", "superb")
BAD = ("terrible", "awful", "dreadful", "broken")
FILLING = ("the", "room", "was", "with", "a", "view", "and", "breakfast")
# A second thread gains nothing for tiny models, and waits for its like where cores are busy.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def sentences(rows: int, seed: int, *, good_share: float = 0.5) -> pl.DataFrame:
    """Return sentences with the label 0 or 1."""
    source = random.Random(seed)
    records = []
    for _ in range(rows):
        label = int(source.random() < good_share)
        words = source.choices(FILLING, k=source.randint(3, 12))
        words.insert(source.randrange(len(words)), source.choice((BAD, GOOD)[label]))
        records.append((" ".join(words), label))
    return pl.DataFrame(records, schema=["text", "label"], orient="row")


def train_command(*arguments: str | Path) -> list[str]:
    """Return the command that trains with these options."""
    return [sys.executable, "-m", "worker.lifecycle.train", *map(str, arguments)]


def run_train(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own and return what it said."""
    return subprocess.run(
        train_command(*arguments),
        cwd=cwd,
        env={**ONE_THREAD, **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
