"""BERT and its kin, packed, with fewer and larger steps than the transformers module takes.

Query, key and value are one product; bias, activation and residual are part of the products; the
last layer is computed for the one token that the head reads, since nothing looks at the others.
The weights, the embeddings and the head are those of the transformers module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from schemas.model_families import FUSED, Family
from worker.engine.attention import attend, attend_from_first
from worker.engine.heads import HEADS
from worker.engine.linear import FUSED_ACTIVATIONS, Linear, make_linear
from worker.engine.packed_batch import PackedBatch, Packing
from worker.engine.ragged import Rows
from worker.engine.varlen import choose_varlen

# Tokens that go through all of a layer behind attention before the next do: what is between its
# products stays in the caches of a core.
CPU_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One layer of a post-norm encoder: attention, then the feed-forward part."""

    query_key_value: Linear
    attention_out: Linear
    attention_norm: nn.LayerNorm
    up: Linear
    down: Linear
    out_norm: nn.LayerNorm


class FusedClassifier:
    """A classifier of BERT's kin on one row of tokens.

    Args:
        model: A transformers classifier in evaluation mode, one that `supports` knows. Its encoder
            layers are taken apart.
        family: How its family must be run.
        device: Where it computes.
        int8: Whether the products with weights are computed in 8 bits, on a CPU.
    """

    def __init__(
        self, model: Any, family: Family, *, device: torch.device, int8: bool = False
    ) -> None:
        config = model.config
        self._model = model
        self._head = HEADS[config.model_type]
        self._heads = int(config.num_attention_heads)
        self._pack = Packing(
            device,
            first_position=int(config.pad_token_id) + 1 if family.positions_after_padding else 0,
            varlen=choose_varlen(config, device, model.dtype),
        )
        base = model.base_model
        self._embed = base.embeddings
        self._project = getattr(base, "embeddings_project", None) or nn.Identity()
        linear = partial(make_linear, activation=_activation(config), int8=int8)
        self._tokens_at_once = CPU_TOKENS if device.type == "cpu" else None
        if config.model_type == "distilbert":
            self._layers = [_distilbert_layer(layer, linear) for layer in base.transformer.layer]
            del base.transformer
        else:
            self._layers = [_bert_layer(layer, linear) for layer in base.encoder.layer]
            del base.encoder

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device."""
        batch = self._pack(rows)
        embedded = self._embed(input_ids=batch.ids[None], position_ids=batch.positions[None])
        hidden = self._project(embedded)[0]
        for layer in self._layers[:-1]:
            query, key, value = self._query_key_value(layer, hidden)
            mixed = attend(query, key, value, batch)
            hidden = self._rest(layer, mixed.flatten(1), hidden)
        return self._head(self._model, self._last(hidden, batch))

    def _query_key_value(self, layer: _Layer, hidden: Tensor) -> list[Tensor]:
        """Return query, key and value [tokens, heads, width of a head]."""
        parts = layer.query_key_value(hidden).chunk(3, dim=1)
        return [part.view(len(hidden), self._heads, -1) for part in parts]

    def _last(self, hidden: Tensor, batch: PackedBatch) -> Tensor:
        """Return what the last layer makes of the first token of each row [rows, width]."""
        layer = self._layers[-1]
        first = batch.first
        query, key, value = self._query_key_value(layer, hidden)
        mixed = attend_from_first(query[first], key, value, batch)
        return self._rest(layer, mixed.flatten(1), hidden[first])

    def _rest(self, layer: _Layer, mixed: Tensor, hidden: Tensor) -> Tensor:
        """Return the output of a layer [tokens, width] after its attention."""
        if self._tokens_at_once is None:
            return _after_attention(layer, mixed, hidden)
        parts = (torch.split(t, self._tokens_at_once) for t in (mixed, hidden))
        return torch.cat([_after_attention(layer, *part) for part in zip(*parts, strict=True)])


def supports(config: Any) -> bool:
    """Say whether a model with this config is taken apart here."""
    known = config.model_type in FUSED and _activation(config) in FUSED_ACTIVATIONS
    return known and not getattr(config, "is_decoder", False)


def _activation(config: Any) -> Any:
    return getattr(config, "hidden_act", None) or getattr(config, "activation", None)


def _after_attention(layer: _Layer, mixed: Tensor, hidden: Tensor) -> Tensor:
    hidden = layer.attention_out.added_normed(mixed, hidden, layer.attention_norm)
    return layer.down.added_normed(layer.up.activated(hidden), hidden, layer.out_norm)


def _bert_layer(layer: Any, linear: Callable[..., Linear]) -> _Layer:
    attention = layer.attention
    heads = attention.self
    return _Layer(
        query_key_value=linear([heads.query, heads.key, heads.value]),
        attention_out=linear([attention.output.dense]),
        attention_norm=attention.output.LayerNorm,
        up=linear([layer.intermediate.dense]),
        down=linear([layer.output.dense]),
        out_norm=layer.output.LayerNorm,
    )


def _distilbert_layer(layer: Any, linear: Callable[..., Linear]) -> _Layer:
    attention = layer.attention
    return _Layer(
        query_key_value=linear([attention.q_lin, attention.k_lin, attention.v_lin]),
        attention_out=linear([attention.out_lin]),
        attention_norm=layer.sa_layer_norm,
        up=linear([layer.ffn.lin1]),
        down=linear([layer.ffn.lin2]),
        out_norm=layer.output_layer_norm,
    )
