"""On a GPU the token budget is bounded by the memory that is free."""

from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from worker.engine import calibrating
from worker.engine.calibrating import CalibratingEngine
from worker.engine.calibration import ROUNDS
from worker.engine.calibrations import Calibration, CalibrationFile
from worker.engine.loading import load_engine

pytestmark = pytest.mark.gpu

BUDGETS = (1_024, 2_048, 4_096)


def test_memory_is_measured_and_the_budget_found_and_kept(
    cuda: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "CANDIDATES", {"cuda": BUDGETS})
    folder = save_tiny_classifier(tmp_path / "model")
    pin = pin_model(Storage(), str(folder))
    rows = [np.full(100, 7, dtype=np.int32)] * (
        calibrating.WORK_BEFORE * ROUNDS * len(BUDGETS) * BUDGETS[-1] // 100 + 1
    )

    def engine() -> CalibratingEngine:
        return calibrating.calibrating(load_engine(folder, pin, device=str(cuda)), pin, tmp_path)

    busy = engine()
    busy.forward(rows)
    busy.forward(rows[:1])

    (kept,) = tmp_path.glob("budget-*.json")
    assert '"token_bytes":0.0' not in kept.read_text()
    assert busy.token_budget in BUDGETS
    assert engine().token_budget == busy.token_budget


def test_a_full_gpu_leaves_room_for_fewer_tokens(
    cuda: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Calibration(token_budget=262_144, rates={}, token_bytes=10_000.0)
    folder = save_tiny_classifier(tmp_path / "model")
    pin = pin_model(Storage(), str(folder))
    monkeypatch.setattr(CalibrationFile, "read", lambda _self: found)
    monkeypatch.setattr(calibrating, "free_memory", lambda _device: 1_000_000)

    engine = calibrating.calibrating(load_engine(folder, pin, device=str(cuda)), pin, tmp_path)

    assert engine.token_budget == 80
