"""The engine: batches of like length within a token budget, and a budget that learns."""

import ctypes
import logging
from collections import deque
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import ModelIncompatible
from schemas.job import Dtype
from worker.batching import token_budget_batches
from worker.engine import BetweenBatches, RowOutOfMemory
from worker.engine.faults import device_failed, is_device_failure, is_out_of_memory
from worker.engine.ragged import Rows

logger = logging.getLogger(__name__)

# Batches differ in size, and the C library keeps the holes that their tensors leave: gigabytes
# after some hundred batches. Given back every so many, which takes no measurable time.
BATCHES_BETWEEN_TRIMS = 4
_C_LIBRARY = ctypes.CDLL(None)


class Classifier(Protocol):
    """A loaded model that scores one batch."""

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device."""


class BatchedEngine:
    """Cuts rows into batches for a classifier; see `worker.engine.Engine`.

    Args:
        classifier: Scores a batch.
        label_count: Logits per row.
        device: Where it computes.
        dtype: What it computes in.
        token_budget: Most tokens in one batch, padding included.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        label_count: int,
        device: torch.device,
        dtype: Dtype,
        token_budget: int,
    ) -> None:
        self._classifier = classifier
        self._device = device
        self.label_count = label_count
        self.device = str(device)
        self.dtype: str = dtype
        self.token_budget = token_budget

    def forward(
        self, token_ids: Rows, between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        """Return logits [rows, labels] in the order of the rows; see `Engine.forward`."""
        lengths = np.array([len(row) for row in token_ids], dtype=np.int64)
        if not lengths.all():
            raise ValueError("a row without tokens cannot be scored; this is a bug in the caller")
        logits = np.empty((len(token_ids), self.label_count), dtype=np.float32)
        batches = deque(token_budget_batches(lengths, self.token_budget))
        roomy, scored_tokens, scored_batches = self.token_budget, 0, 0
        while batches:
            batch = batches.popleft()
            found = self._logits([token_ids[i] for i in batch])
            if found is None:
                if len(batch) == 1:
                    self.token_budget = roomy  # the row is to blame, and not the budget
                    raise RowOutOfMemory(
                        f"a row of {lengths[batch[0]]} tokens does not fit into the memory of "
                        f"{self._device} even alone: use a smaller --max-length",
                        int(batch[0]),
                    )
                self.token_budget = int(lengths[batch[0]]) * len(batch) // 2
                left = np.concatenate([batch, *batches])
                smaller = token_budget_batches(lengths[left], self.token_budget)
                batches = deque(left[part] for part in smaller)
                continue
            logits[batch] = found
            if roomy != self.token_budget:
                self._tell_of_smaller_budget(roomy)
                roomy = self.token_budget
            scored_tokens += int(lengths[batch].sum())
            scored_batches += 1
            if scored_batches % BATCHES_BETWEEN_TRIMS == 0 and self._device.type == "cpu":
                _give_heap_back()
            if between is not None:
                between(scored_tokens)
        return logits

    def _logits(self, rows: Rows) -> NDArray[np.float32] | None:
        """Return logits [rows, labels], or None when they do not fit the memory."""
        try:
            with torch.inference_mode():
                logits: NDArray[np.float32] = self._classifier(rows).float().cpu().numpy()
        except Exception as error:
            if is_device_failure(error):
                raise device_failed(self.device, error) from error
            if not is_out_of_memory(error):
                raise
        else:
            if logits.shape != (len(rows), self.label_count):
                raise ModelIncompatible(
                    f"the model gave logits of shape {logits.shape} for {len(rows)} rows and "
                    f"{self.label_count} labels"
                )
            return logits
        # Outside of the handler, whose traceback keeps the failed batch's tensors alive.
        _free_cached_memory(self._device)
        return None

    def _tell_of_smaller_budget(self, before: int) -> None:
        logger.warning(
            "%d tokens in one batch do not fit into the memory of %s: the token budget is %d from "
            "now on",
            before,
            self._device,
            self.token_budget,
            extra={"action": "token_budget_lowered", "token_budget": self.token_budget},
        )


def _give_heap_back() -> None:
    """Return to the system what the C library holds and nobody uses; glibc alone can."""
    trim = getattr(_C_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)


def _free_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
