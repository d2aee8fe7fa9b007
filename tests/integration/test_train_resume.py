"""A training that is killed goes on as if nothing had been, and leaves nothing half done."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from schemas.registry import METRICS, MODEL_CARD, Registry
from schemas.storage import Storage
from support.families import save_tiny_classifier
from support.sentences import ONE_THREAD, run_train, sentences, train_command
from worker.lifecycle.train_work import STATE

# Of loss, metrics and weights between an undisturbed run and one that was killed, on one CPU.
TOLERANCE = 1e-5
STEPS = 90
WAIT_SECONDS = 200


@pytest.fixture
def options(tmp_path: Path) -> list[str | Path]:
    """Options of a training with dropout, validation and some steps."""
    base = save_tiny_classifier(tmp_path / "base", labels=("0", "1"))
    sentences(240, seed=1).write_parquet(tmp_path / "train.parquet")
    sentences(60, seed=2).write_parquet(tmp_path / "validation.parquet")
    return [
        *("--model", base, "--data", tmp_path / "train.parquet", "--validation-data"),
        *(tmp_path / "validation.parquet", "--epochs", "3", "--batch-size", "4"),
        *("--accumulate", "2", "--patience", "9", "--checkpoint-seconds", "0.1"),
    ]


def kill_when(reached: Any, arguments: list[str | Path], cwd: Path, **env: str) -> None:
    """Start a training and kill it with SIGKILL as soon as `reached()` is true."""
    log = (cwd / "killed.log").open("wb")
    process = subprocess.Popen(
        train_command(*arguments), cwd=cwd, env={**ONE_THREAD, **env}, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not reached():
            assert process.poll() is None, (cwd / "killed.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        log.close()
    assert process.returncode == -signal.SIGKILL


def steps_done(work: Path) -> int:
    """Return the step of the last checkpoint that seems whole."""
    states = work.glob(f"checkpoints/checkpoint-*/{STATE}")
    return max((int(path.parent.name.rpartition("-")[2]) for path in states), default=0)


def curve(folder: Path) -> dict[tuple[int, str], float]:
    """Return what was logged, times left out, by step and name."""
    points = json.loads((folder / "metrics.json").read_text())["curve"]
    return {
        (point["step"], name): value
        for point in points
        for name, value in point.items()
        if name in ("loss", "learning_rate", "eval_loss", "eval_macro_f1", "epoch")
    }


@pytest.mark.timeout(900)  # three processes that load torch, also on a busy machine
def test_a_killed_training_goes_on_with_the_loss_curve_of_an_undisturbed_one(
    tmp_path: Path, options: list[str | Path]
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    work = tmp_path / "out.training"
    done = run_train(*options, "--out", undisturbed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    kill_when(lambda: steps_done(work) > STEPS // 4, [*options, "--out", out], tmp_path)
    assert not out.exists()
    half = work / "checkpoints" / "checkpoint-9999"  # as a kill in mid-save leaves it
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"cut short")
    other = run_train(*options, "--out", out, "--seed", "1", cwd=tmp_path)
    again = run_train(*options, "--out", out, cwd=tmp_path)

    assert other.returncode == 2
    assert "another recipe or other data (recipe seed was 0, is 1)" in other.stderr
    assert again.returncode == 0, again.stderr
    went_on = re.search(r"goes on from checkpoint-(\d+)", again.stderr)
    assert went_on
    assert STEPS // 5 < int(went_on[1]) < STEPS
    assert json.loads(again.stdout)["steps"] == STEPS
    assert not work.exists()
    assert len(curve(undisturbed)) > STEPS
    assert curve(out) == pytest.approx(curve(undisturbed), abs=TOLERANCE)
    before, after = (load_file(f / "model.safetensors") for f in (undisturbed, out))
    for name, weights in before.items():
        assert after[name] == pytest.approx(weights, abs=TOLERANCE), name


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_training_that_is_killed_while_it_registers_is_registered_once_by_the_next(
    tmp_path: Path, options: list[str | Path]
) -> None:
    root = tmp_path / "registry"
    registry = Registry(Storage(), str(root))
    arguments = [*options, "--epochs", "0.1", "--out", "mood"]
    env = {"BULKSCORE_MODELS_URI": str(root), "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "c")}

    kill_when(lambda: (root / "mood").exists(), arguments, tmp_path, **env)
    names = registry.names()
    left = [path.name for path in root.glob("mood/versions/*/manifest.json")]
    done = run_train(*arguments, cwd=tmp_path, **env)

    assert done.returncode == 0, done.stderr
    assert (names, left) in ((["mood"], []), (["mood"], ["manifest.json"]))
    (version,) = registry.versions("mood")
    assert {path.name for path in (root / "mood/versions" / version.version).iterdir()} == {
        "manifest.json",
        version.folder,
    }
    assert b"training_curves.svg" in (registry.read(version, MODEL_CARD) or b"")
    assert (registry.read(version, "training_curves.svg") or b"").startswith(b"<?xml")
    assert json.loads(registry.read(version, METRICS) or b"")["train_rows"] == 240
    assert not (tmp_path / "mood.training").exists()
    assert sorted(os.listdir(root)) == ["mood"]
