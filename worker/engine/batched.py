"""The engine: batches of like length within a token budget, and a budget that learns."""

import ctypes
import logging
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Protocol, TypeVar

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
from worker.engine.transfer import Fetched, Transfer, transfer_to
from worker.metrics import DEVICE_MEMORY, OOM_STEPS, count_batch

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Batches differ in size, and the C library keeps the holes that their tensors leave: gigabytes
# after some hundred batches. Given back every so many: a tenth more processor time in an encoder of
# two layers with MiniLM's width, and relatively less in deeper ones, for a quarter less memory.
BATCHES_BETWEEN_TRIMS = 4
# While a GPU computes one, the next is made ready and waits for its turn there. No third: with two
# the device has work at all times, and the caller hears of its progress one batch late.
BATCHES_IN_FLIGHT = 2
_C_LIBRARY = ctypes.CDLL(None)


class Classifier(Protocol):
    """A loaded model that scores one batch."""

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device.

        On a GPU the work is launched, not awaited.
        """


class BatchedEngine:
    """Cuts rows into batches for a classifier; see `worker.engine.Engine`.

    Args:
        classifier: Scores a batch.
        label_count: Logits per row.
        device: Where it computes.
        dtype: What it computes in.
        token_budget: Most tokens in one batch.
        padded: Whether the classifier makes all rows of a batch as long as the longest, so that
            padding counts.
        transfer: The way to the device and back; made for it when None.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        label_count: int,
        device: torch.device,
        dtype: Dtype,
        token_budget: int,
        padded: bool = True,
        transfer: Transfer | None = None,
    ) -> None:
        self._classifier = classifier
        self._transfer = transfer or transfer_to(device)
        self._device = device
        self.label_count = label_count
        self.device = str(device)
        self.dtype: str = dtype
        self.token_budget = token_budget
        self._padded = padded
        self._in_flight = 1 if device.type == "cpu" else BATCHES_IN_FLIGHT

    def forward(
        self, token_ids: Rows, between: BetweenBatches | None = None
    ) -> NDArray[np.float32]:
        """Return logits [rows, labels] in the order of the rows; see `Engine.forward`."""
        lengths = np.fromiter(map(len, token_ids), np.int64, len(token_ids))
        if not lengths.all():
            raise ValueError("a row without tokens cannot be scored; this is a bug in the caller")
        logits = np.empty((len(token_ids), self.label_count), dtype=np.float32)
        scored_tokens = 0
        launched = _ahead(self._launched(token_ids, lengths), self._in_flight)
        for count, (batch, fetched) in enumerate(launched, start=1):
            logits[batch] = self._wait_for(fetched)
            tokens = int(lengths[batch].sum())
            scored_tokens += tokens
            count_batch(
                tokens=tokens, padded=self._tokens(lengths[batch]), budget=self.token_budget
            )
            if count % BATCHES_BETWEEN_TRIMS == 0 and self._device.type == "cpu":
                _give_heap_back()
            if between is not None:
                between(scored_tokens)
        if self._device.type == "cuda":
            DEVICE_MEMORY.labels("reserved").set(torch.cuda.memory_reserved(self._device))
            DEVICE_MEMORY.labels("peak").set(torch.cuda.max_memory_allocated(self._device))
        return logits

    def _launched(
        self, token_ids: Rows, lengths: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Fetched]]:
        """Launch batch after batch, and smaller ones after one that did not fit the memory."""
        batches = deque(self._batches(lengths))
        roomy = self.token_budget
        while batches:
            batch = batches.popleft()
            fetched = self._launch([token_ids[i] for i in batch])
            if fetched is None:
                OOM_STEPS.inc()
                if len(batch) == 1:
                    self.token_budget = roomy  # the row is to blame, and not the budget
                    raise RowOutOfMemory(
                        f"a row of {lengths[batch[0]]} tokens does not fit into the memory of "
                        f"{self._device} even alone: use a smaller --max-length",
                        int(batch[0]),
                    )
                self.token_budget = self._tokens(lengths[batch]) // 2
                left = np.concatenate([batch, *batches])
                batches = deque(left[part] for part in self._batches(lengths[left]))
                continue
            if roomy != self.token_budget:
                self._tell_of_smaller_budget(roomy)
                roomy = self.token_budget
            yield batch, fetched

    def _batches(self, lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return token_budget_batches(lengths, self.token_budget, padded=self._padded)

    def _tokens(self, lengths: NDArray[np.int64]) -> int:
        """Return what rows of these lengths count together."""
        return int(lengths.max()) * len(lengths) if self._padded else int(lengths.sum())

    def _launch(self, rows: Rows) -> Fetched | None:
        """Begin to score rows; None when they do not fit the memory, which shows at once.

        Memory is taken when work is launched, so it is this batch that does not fit, and those
        before it come out sound.
        """
        try:
            with torch.inference_mode():
                logits = self._classifier(rows)
                fetched = self._transfer.fetch(logits)
        except Exception as error:
            if is_device_failure(error):
                raise device_failed(self.device, error) from error
            if not is_out_of_memory(error):
                raise
        else:
            if logits.shape != (len(rows), self.label_count):
                raise ModelIncompatible(
                    f"the model gave logits of shape {tuple(logits.shape)} for {len(rows)} rows "
                    f"and {self.label_count} labels"
                )
            return fetched
        # Outside of the handler, whose traceback keeps the failed batch's tensors alive.
        _free_cached_memory(self._device)
        return None

    def _wait_for(self, fetched: Fetched) -> NDArray[np.float32]:
        """Return logits [rows, labels]; a device that failed meanwhile says so here."""
        try:
            return fetched()
        except RuntimeError as error:
            if is_device_failure(error):
                raise device_failed(self.device, error) from error
            raise

    def _tell_of_smaller_budget(self, before: int) -> None:
        logger.warning(
            "%d tokens in one batch do not fit into the memory of %s: the token budget is %d from "
            "now on",
            before,
            self._device,
            self.token_budget,
            extra={"action": "token_budget_lowered", "token_budget": self.token_budget},
        )


def _ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """Yield items in order, each only when `count` of them, itself included, were asked for."""
    taken = deque(islice(items, count))
    while taken:
        yield taken.popleft()
        taken.extend(islice(items, 1))


def _give_heap_back() -> None:
    """Return to the system what the C library holds and nobody uses; glibc alone can."""
    trim = getattr(_C_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)


def _free_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
