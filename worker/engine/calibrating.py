"""An engine that finds its token budget by itself, once it has been busy for a while."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import DeviceOutOfMemory
from schemas.job import ModelPin
from worker.engine import BetweenBatches
from worker.engine.batched import BatchedEngine
from worker.engine.calibration import (
    CANDIDATES,
    ROUNDS,
    bytes_per_token,
    choose,
    measure,
    most_tokens,
    rows_of,
    typical_rows,
)
from worker.engine.calibrations import Calibration, CalibrationFile
from worker.engine.device import device_name, free_memory, peak_memory

logger = logging.getLogger(__name__)

# A calibration is due when so many times its own work has been done: it never takes more than this
# share of a job, so that small ones and single texts go without, and slow models wait longer.
WORK_BEFORE = 20
# Lengths at which memory is measured: logits weigh most in short rows, attention in the longest.
_SHORT_ROWS = 8


class CalibratingEngine:
    """An engine with the budget that an earlier calibration chose, or one that makes it.

    Args:
        engine: What scores, with the default budget of its device.
        file: Where the calibration is kept.
        device: What it computes on.
        longest: Most tokens of a row.
    """

    def __init__(
        self, engine: BatchedEngine, file: CalibrationFile, *, device: torch.device, longest: int
    ) -> None:
        self._engine = engine
        self._file = file
        self._device = device
        self._longest = longest
        self._budgets = CANDIDATES[device.type]
        self._work_left = WORK_BEFORE * ROUNDS * len(self._budgets) * self._budgets[-1]
        self._default = engine.token_budget
        self._calibrated = False
        found = file.read()
        if found is not None:
            self._use(found)

    @property
    def label_count(self) -> int:
        """Logits per row."""
        return self._engine.label_count

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._engine.device

    @property
    def dtype(self) -> str:
        """What it computes in."""
        return self._engine.dtype

    @property
    def token_budget(self) -> int:
        """Most tokens in one batch."""
        return self._engine.token_budget

    def forward(
        self, token_ids: Sequence[NDArray[np.int32]], between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        """Return logits [rows, labels] in the order of the rows; see `Engine.forward`."""
        if not self._calibrated and self._work_left <= 0:
            self._calibrate(np.concatenate(token_ids), between)
        logits = self._engine.forward(token_ids, between)
        self._work_left -= sum(map(len, token_ids))
        return logits

    def _calibrate(self, ids: NDArray[np.int32], between: BetweenBatches | None) -> None:
        """Find the budget, unless one that did not fit the memory has shown its bound."""

        def pause() -> None:
            if between is not None:
                between(0)

        if self._engine.token_budget == self._default:
            try:
                found = self._found(ids, pause)
            except DeviceOutOfMemory as error:  # made-up rows: those of the job may fit
                logger.warning("token budget not calibrated: %s", error)
                found = None
            finally:
                self._engine.token_budget = self._default
            if found is not None:
                self._file.write(found)
                self._use(found)
        self._calibrated = True

    def _found(self, ids: NDArray[np.int32], pause: Callable[[], None]) -> Calibration | None:
        token_bytes = self._token_bytes(ids) if self._device.type == "cuda" else 0.0
        rows = typical_rows(self._budgets[-1], self._longest, ids)
        rates = measure(self._engine, self._fitting(token_bytes), rows, pause=pause)
        if not rates:
            return None
        return Calibration(token_budget=choose(rates), rates=rates, token_bytes=token_bytes)

    def _fitting(self, token_bytes: float) -> tuple[int, ...]:
        """Return the budgets that the free memory has room for."""
        if not token_bytes:
            return self._budgets
        most = most_tokens(token_bytes, free_memory(self._device))
        return tuple(budget for budget in self._budgets if budget <= most)

    def _token_bytes(self, ids: NDArray[np.int32]) -> float:
        """Return what a token takes at most, measured with the smallest batches."""
        few, many = self._budgets[0], self._budgets[1]
        found = []
        for length in {min(_SHORT_ROWS, self._longest), self._longest}:
            peaks = []
            for tokens in (few, many):
                rows = rows_of([length] * max(tokens // length, 1), ids)
                with peak_memory(self._device) as peak:
                    self._engine.token_budget = many
                    self._engine.forward(rows)
                peaks.append((sum(map(len, rows)), peak()))
            if peaks[0][0] < peaks[1][0]:
                found.append(bytes_per_token(*peaks))
        return max(found, default=0.0)

    def _use(self, found: Calibration) -> None:
        budget = found.token_budget
        if found.token_bytes:
            budget = min(budget, most_tokens(found.token_bytes, free_memory(self._device)))
        self._engine.token_budget = budget
        self._calibrated = True
        logger.info(
            "token budget %d on %s", budget, self._device, extra={"action": "token_budget_chosen"}
        )


def calibrating(engine: BatchedEngine, pin: ModelPin, folder: Path) -> CalibratingEngine:
    """Return `engine`, which has the default budget, with one that is found.

    Args:
        engine: The loaded model.
        pin: Which one it is.
        folder: Where calibrations are kept.
    """
    device = torch.device(engine.device)
    file = CalibrationFile(
        folder, digest=pin.digest, dtype=engine.dtype, device=device_name(device)
    )
    return CalibratingEngine(engine, file, device=device, longest=pin.max_length)
