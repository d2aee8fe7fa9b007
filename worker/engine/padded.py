"""The engine on transformers: batches of like length within a token budget, padded."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import ModelIncompatible
from schemas.job import Dtype
from schemas.model_families import Family
from worker.batching import token_budget_batches
from worker.engine import BetweenBatches, RowOutOfMemory
from worker.engine.faults import device_failed, is_device_failure, is_out_of_memory
from worker.engine.padding import pad, unused_id

logger = logging.getLogger(__name__)

Rows = Sequence[NDArray[np.int32]]


class PaddedEngine:
    """A transformers classifier that pads to the right or left as its family needs.

    Args:
        model: A classifier in evaluation mode on `device`.
        family: How its family must be run.
        device: Where it computes.
        dtype: What it computes in.
        token_budget: Most padded tokens in one batch.
    """

    def __init__(
        self, model: Any, family: Family, *, device: torch.device, dtype: Dtype, token_budget: int
    ) -> None:
        self._model = model
        self._family = family
        self._device = device
        self._pad_id = _pad_id(model.config)
        self.label_count = int(model.config.num_labels)
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
        roomy, scored_tokens = self.token_budget, 0
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
            if between is not None:
                between(scored_tokens)
        return logits

    def _logits(self, rows: Rows) -> NDArray[np.float32] | None:
        """Return logits [rows, labels], or None when they do not fit the memory."""
        try:
            return np.concatenate([self._run(part) for part in self._paddable(rows)])
        except Exception as error:
            if is_device_failure(error):
                raise device_failed(self.device, error) from error
            if not is_out_of_memory(error):
                raise
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

    def _paddable(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Yield rows that can be padded together, with the id to pad them with."""
        if self._pad_id is not None:
            yield rows, self._pad_id
            return
        free = unused_id(rows, int(self._model.config.vocab_size))
        if free is not None:
            yield rows, free
            return
        yield from ((rows[i : i + 1], 0) for i in range(len(rows)))

    def _run(self, part: tuple[Rows, int]) -> NDArray[np.float32]:
        rows, pad_id = part
        ids, mask = pad(rows, pad_id=pad_id, side=self._family.padding_side)
        if self._pad_id is None and self._family.reads_last_token:
            self._model.config.pad_token_id = pad_id if len(rows) > 1 else None
        with torch.inference_mode():
            # No token types: for single texts transformers' own tokenizers give none, or zeros.
            output = self._model(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=torch.from_numpy(mask).to(self._device),
            )
            logits: NDArray[np.float32] = output.logits.float().cpu().numpy()
        if logits.shape != (len(rows), self.label_count):
            raise ModelIncompatible(
                f"the model gave logits of shape {logits.shape} for {len(rows)} rows and "
                f"{self.label_count} labels"
            )
        return logits


def _pad_id(config: Any) -> int | None:
    """Return the id the model takes for padding, None where it has none: then any id will do."""
    pad_id = config.pad_token_id
    # Some configs say -1 for none.
    return pad_id if isinstance(pad_id, int) and 0 <= pad_id < config.vocab_size else None


def _free_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
