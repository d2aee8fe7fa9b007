"""The engine on transformers: batches of like length within a token budget, padded.

Loading refuses everything that does not match exactly; transformers would otherwise fill a
missing head with random numbers and only log it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import DeviceOutOfMemory, ModelIncompatible
from schemas.job import Dtype, ModelPin
from schemas.model_families import FAMILIES, Family
from worker.batching import token_budget_batches
from worker.engine import BetweenBatches
from worker.engine.device import (
    DTYPES,
    choose_device,
    choose_dtype,
    choose_token_budget,
    set_threads,
)
from worker.engine.padding import pad, unused_id

Rows = Sequence[NDArray[np.int32]]

# What transformers raises for files it cannot use. Not all exceptions: a time limit may end a load.
LOADING_ERRORS = (
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# What `output_loading_info` reports of weights that are not exactly those of the architecture.
_MISMATCHES = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


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
        scored_tokens = 0
        for batch in token_budget_batches(lengths, self.token_budget):
            logits[batch] = self._logits([token_ids[i] for i in batch])
            scored_tokens += int(lengths[batch].sum())
            if between is not None:
                between(scored_tokens)
        return logits

    def _logits(self, rows: Rows) -> NDArray[np.float32]:
        """Return logits [rows, labels], halving the batch as often as memory demands."""
        try:
            return np.concatenate([self._run(part) for part in self._paddable(rows)])
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise DeviceOutOfMemory(
                    f"a single row of {len(rows[0])} tokens does not fit into the memory of "
                    f"{self.device}: use a smaller --max-length"
                ) from error
        # Outside of the handler, whose traceback keeps the failed batch's tensors alive.
        _free_cached_memory(self._device)
        half = len(rows) // 2
        return np.concatenate([self._logits(rows[:half]), self._logits(rows[half:])])

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


def load_engine(
    path: Path,
    pin: ModelPin,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    token_budget: int | None = None,
    threads: int = 0,
) -> PaddedEngine:
    """Load the model in a local folder, all of it and nothing else.

    Raises:
        ModelIncompatible: Weights and architecture do not match exactly, or do not load.
        DeviceOutOfMemory: The model does not fit the device.
        ConfigurationError: There is no such device.
    """
    chosen = choose_device(device)
    precision = choose_dtype(dtype, chosen)
    if chosen.type == "cpu":
        set_threads(threads)
    family = FAMILIES[pin.model_type]
    model = _load_model(path, pin, family, precision)
    try:
        model = model.to(chosen).eval()
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"model {pin.ref} does not fit into {chosen}") from error
    return PaddedEngine(
        model,
        family,
        device=chosen,
        dtype=precision,
        token_budget=choose_token_budget(token_budget, chosen),
    )


def _pad_id(config: Any) -> int | None:
    """Return the id the model takes for padding, None where it has none: then any id will do."""
    pad_id = config.pad_token_id
    # Some configs say -1 for none.
    return pad_id if isinstance(pad_id, int) and 0 <= pad_id < config.vocab_size else None


def _load_model(path: Path, pin: ModelPin, family: Family, dtype: Dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=family.attention,
            dtype=DTYPES[dtype],
            output_loading_info=True,
        )
    except (*LOADING_ERRORS, SafetensorError) as error:
        raise ModelIncompatible(
            f"model {pin.ref} does not load: {type(error).__name__}: {error}"
        ) from error
    wrong = [f"{kind} {sorted(map(str, info[kind]))[:5]}" for kind in _MISMATCHES if info.get(kind)]
    if wrong:
        raise ModelIncompatible(
            f"model {pin.ref}: weights and architecture do not match: {'; '.join(wrong)}"
        )
    if model.config.num_labels != len(pin.labels):
        raise ModelIncompatible(
            f"model {pin.ref} has {model.config.num_labels} labels, {len(pin.labels)} are pinned"
        )
    return model


def _free_cached_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
