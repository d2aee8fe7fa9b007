"""Classifiers that run a batch as one row of tokens, without padding.

The transformers module of the family does the work: it is given all tokens as a single row, with
the positions of each text counted afresh, and an attention that keeps to each text. Only the head
is called by us, on the one token of each text that it reads.
"""

from contextvars import ContextVar
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface

from schemas.model_families import Family
from worker.engine.attention import Pattern, attend
from worker.engine.heads import HEADS
from worker.engine.packed_batch import PackedBatch, Packing
from worker.engine.ragged import Rows
from worker.engine.varlen import choose_varlen

ATTENTION: Final = "bulkscore_packed"

_batch: ContextVar[PackedBatch] = ContextVar("batch")


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' own functions do: [1, heads, tokens, width] in, out transposed."""
    causal = module.is_causal if is_causal is None else is_causal
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    mixed = attend(
        query,
        key,
        value,
        _batch.get(),
        pattern=Pattern(causal=causal, window=sliding_window),
        scale=scaling,
    )
    return mixed.unsqueeze(0), None


AttentionInterface.register(ATTENTION, _attention)


class PackedClassifier:
    """A transformers classifier on one row of tokens.

    Args:
        model: A classifier in evaluation mode, one that `supports` knows.
        family: How its family must be run.
        device: Where it computes.
    """

    def __init__(self, model: Any, family: Family, *, device: torch.device) -> None:
        self._model = model
        self._model.set_attn_implementation(ATTENTION)
        self._family = family
        config = model.config
        self._head = HEADS[config.model_type]
        self._pack = Packing(
            device,
            first_position=int(config.pad_token_id) + 1 if family.positions_after_padding else 0,
            varlen=choose_varlen(config, device, model.dtype),
        )

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device."""
        batch = self._pack(rows)
        token = _batch.set(batch)
        try:
            hidden = self._model.base_model(
                input_ids=batch.ids[None], position_ids=batch.positions[None]
            ).last_hidden_state[0]
        finally:
            _batch.reset(token)
        read = batch.last if self._family.reads_last_token else batch.first
        return self._head(self._model, hidden[read])


def supports(config: Any) -> bool:
    """Say whether a model with this config can be run packed."""
    if config.model_type not in HEADS:
        return False
    pooling = getattr(config, "classifier_pooling", "cls")
    return pooling in ("cls", "bos", "late") and not getattr(config, "is_decoder", False)
