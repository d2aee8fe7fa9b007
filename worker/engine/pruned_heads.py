"""Models with fewer attention heads than their width is divided by, which no config can express.

`config.json` keeps the heads of the unpruned model, whose width depends on it, and says in a key
of ours how many each layer has kept. The weights are stored without the others. For loading they
are filled up with zeros, so that transformers checks them against the architecture as all weights;
heads of zeros add nothing, and are cut off again behind it.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import prune_linear_layer

from schemas.errors import ModelIncompatible
from schemas.model_families import FUSED
from worker.engine.encoder_parts import head_width, parts_of

KEY = "bulkscore_attention_heads"

_INTO = re.compile(r"\.attention\.(self\.(query|key|value)|[qkv]_lin)\.(weight|bias)$")
_OUT_OF = re.compile(r"\.attention\.(output\.dense|out_lin)\.weight$")


def kept_heads(config: Any) -> int | None:
    """Return how many heads each layer has kept, None where all are there.

    Raises:
        ModelIncompatible: It is no number of heads that can be.
    """
    kept = getattr(config, KEY, None)
    if kept is None:
        return None
    known = config.model_type in FUSED
    if not known or type(kept) is not int or not 0 < kept < config.num_attention_heads:
        raise ModelIncompatible(f"config.json has {KEY} {kept!r}, which cannot be")
    return kept


def fill_up(weights: Mapping[str, Tensor], config: Any, kept: int) -> dict[str, Tensor]:
    """Return weights with heads of zeros where heads were cut.

    Raises:
        ModelIncompatible: They are not of `kept` heads.
    """
    width, there = int(config.hidden_size), kept * head_width(config)
    filled = dict(weights)
    for name, weight in weights.items():
        dim = 0 if _INTO.search(name) else 1 if _OUT_OF.search(name) else None
        if dim is None:
            continue
        if weight.shape[dim] != there:
            raise ModelIncompatible(
                f"{name} is not of {kept} attention heads, as config.json says with {KEY}"
            )
        shape = list(weight.shape)
        shape[dim] = width - there
        filled[name] = torch.cat([weight, weight.new_zeros(shape)], dim=dim)
    return filled


def cut_off(model: Any, kept: int) -> None:
    """Cut off all but the first `kept` heads of each layer, in place."""
    index = torch.arange(kept * head_width(model.config))
    for parts in parts_of(model):
        for place in parts.heads:
            place.put(_cut(place.linear, index, 0))
        parts.mix.put(_cut(parts.mix.linear, index, 1))


def _cut(linear: nn.Linear, index: Tensor, dim: int) -> nn.Linear:
    cut: nn.Linear = prune_linear_layer(linear, index, dim=dim)
    return cut
