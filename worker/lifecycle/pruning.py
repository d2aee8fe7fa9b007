"""Cuts layers, feed-forward neurons and attention heads out of an encoder, in place.

Each layer keeps as many neurons and heads as every other, so that two numbers in the config say
what the model is, and products stay dense: sparse ones would be neither smaller nor faster here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import prune_linear_layer

from worker.engine import pruned_heads
from worker.engine.encoder_parts import head_width, parts_of, stack_of


def most_important(scores: Tensor, count: int) -> list[int]:
    """Return the places of the `count` largest scores, in rising order."""
    order = torch.argsort(scores, descending=True, stable=True)
    return sorted(order[:count].tolist())


def keep_layers(model: Any, layers: Sequence[int]) -> None:
    """Cut out all layers but these."""
    stack = stack_of(model)
    stack.layer = nn.ModuleList([stack.layer[i] for i in layers])
    model.config.num_hidden_layers = len(layers)


def keep_neurons(model: Any, neurons: Sequence[Sequence[int]]) -> None:
    """Cut out all feed-forward neurons but these of each layer, as many of one as of another."""
    for parts, kept in zip(parts_of(model), neurons, strict=True):
        index = _index(kept, parts.up.linear)
        parts.up.put(prune_linear_layer(parts.up.linear, index, dim=0))
        parts.down.put(prune_linear_layer(parts.down.linear, index, dim=1))
    setattr(model.config, neurons_key(model.config), len(neurons[0]))


def keep_heads(model: Any, heads: Sequence[Sequence[int]]) -> None:
    """Cut out all attention heads but these of each layer, as many of one as of another."""
    width = head_width(model.config)
    for parts, kept in zip(parts_of(model), heads, strict=True):
        units = [unit for head in kept for unit in range(head * width, (head + 1) * width)]
        index = _index(units, parts.mix.linear)
        for place in parts.heads:
            place.put(prune_linear_layer(place.linear, index, dim=0))
        parts.mix.put(prune_linear_layer(parts.mix.linear, index, dim=1))
    setattr(model.config, pruned_heads.KEY, len(heads[0]))


def neurons_key(config: Any) -> str:
    """Return what a config calls the feed-forward neurons of a layer."""
    return "hidden_dim" if config.model_type == "distilbert" else "intermediate_size"


def _index(places: Sequence[int], linear: nn.Linear) -> Tensor:
    return torch.tensor(places, dtype=torch.long, device=linear.weight.device)
