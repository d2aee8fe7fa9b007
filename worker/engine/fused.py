"""BERT and its kin, packed, with fewer and larger steps than the transformers module takes.

Query, key and value are one product; bias, activation and residual are part of the products; the
last layer is computed for the one token that the head reads, since nothing looks at the others.
The weights, the embeddings and the head are those of the transformers module.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from schemas.model_families import Family
from worker.engine.attention import attend, attend_from_first
from worker.engine.heads import HEADS
from worker.engine.linear import FUSED_ACTIVATIONS, Linear, make_linear
from worker.engine.packed_batch import PackedBatch, Packing
from worker.engine.ragged import Rows
from worker.engine.varlen import choose_varlen

_BERT_LIKE = ("bert", "camembert", "data2vec-text", "electra", "ernie", "roberta", "xlm-roberta")


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
    """

    def __init__(self, model: Any, family: Family, *, device: torch.device) -> None:
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
        if config.model_type == "distilbert":
            self._layers = [_distilbert_layer(layer, config) for layer in base.transformer.layer]
            del base.transformer
        else:
            self._layers = [_bert_layer(layer, config) for layer in base.encoder.layer]
            del base.encoder

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device."""
        batch = self._pack(rows)
        embedded = self._embed(input_ids=batch.ids[None], position_ids=batch.positions[None])
        hidden = self._project(embedded)[0]
        for layer in self._layers[:-1]:
            query, key, value = self._query_key_value(layer, hidden)
            mixed = attend(query, key, value, batch)
            hidden = _rest(layer, mixed.flatten(1), hidden)
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
        return _rest(layer, mixed.flatten(1), hidden[first])


def supports(config: Any) -> bool:
    """Say whether a model with this config is taken apart here."""
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    known = config.model_type in (*_BERT_LIKE, "distilbert")
    return known and activation in FUSED_ACTIVATIONS and not getattr(config, "is_decoder", False)


def _rest(layer: _Layer, mixed: Tensor, hidden: Tensor) -> Tensor:
    """Return the output of a layer [tokens, width] after its attention."""
    hidden = layer.attention_norm(layer.attention_out.added(mixed, hidden))
    normed: Tensor = layer.out_norm(layer.down.added(layer.up.activated(hidden), hidden))
    return normed


def _bert_layer(layer: Any, config: Any) -> _Layer:
    attention, activation = layer.attention, config.hidden_act
    heads = attention.self
    return _Layer(
        query_key_value=make_linear([heads.query, heads.key, heads.value], activation),
        attention_out=make_linear([attention.output.dense], activation),
        attention_norm=attention.output.LayerNorm,
        up=make_linear([layer.intermediate.dense], activation),
        down=make_linear([layer.output.dense], activation),
        out_norm=layer.output.LayerNorm,
    )


def _distilbert_layer(layer: Any, config: Any) -> _Layer:
    attention, activation = layer.attention, config.activation
    return _Layer(
        query_key_value=make_linear(
            [attention.q_lin, attention.k_lin, attention.v_lin], activation
        ),
        attention_out=make_linear([attention.out_lin], activation),
        attention_norm=layer.sa_layer_norm,
        up=make_linear([layer.ffn.lin1], activation),
        down=make_linear([layer.ffn.lin2], activation),
        out_norm=layer.output_layer_norm,
    )
