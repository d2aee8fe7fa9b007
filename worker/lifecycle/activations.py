"""How much of the feed-forward part of an encoder does nothing for a text.

Behind the activation function, token by token: zeros, and the smallest numbers that together hold
no more than a hundredth of the token's norm, without which the layer would give the same. What a
processor can save by that is another matter: it reads and multiplies the weights of a neuron for
all tokens of a text at once, so that only a neuron that no token of the text needs can be passed
over. ReLU makes most numbers zero (Li et al. 2023, The Lazy Neuron Phenomenon,
https://arxiv.org/abs/2210.06313), GELU none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from schemas.job import ModelPin
from schemas.model_families import FAMILIES, FUSED
from worker.engine.encoder_parts import parts_of
from worker.engine.stored import from_folder
from worker.tokenizer import Tokenizer

TEXTS = 32
MOST_TOKENS = 128  # of a text
NEGLIGIBLE_NORM = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Means over the tokens of some texts, of one layer.

    Attributes:
        zero: Share of the activations that are 0.
        negligible: Share of those that hold `NEGLIGIBLE_NORM` of a token's norm at most.
        skippable: Share of the neurons that are negligible for all tokens of a text, the mean
            over texts.
    """

    zero: float
    negligible: float
    skippable: float


def activations_of(
    folder: Path, pin: ModelPin, tokenizer: Tokenizer, texts: Sequence[str]
) -> list[Activations] | None:
    """Measure the first `TEXTS` of some texts on the CPU, layer by layer.

    Args:
        folder: Files of the model.
        pin: The model; None is returned where it is none of BERT's kin.
        tokenizer: Its tokenizer.
        texts: That it can score.
    """
    if pin.model_type not in FUSED:
        return None
    attention = FAMILIES[pin.model_type].attention
    model, _ = from_folder(folder, attn_implementation=attention, dtype=torch.float32)
    model.eval()
    encoded = tokenizer.encode(texts[:TEXTS])
    found: list[list[Tensor]] = [[] for _ in parts_of(model)]
    hooks = [
        parts.down.linear.register_forward_pre_hook(
            lambda _module, inputs, kept=kept: kept.append(_shares(inputs[0][0]))
        )
        for parts, kept in zip(parts_of(model), found, strict=True)
    ]
    with torch.inference_mode():
        for ids in encoded.ids:
            if len(ids):
                model(input_ids=torch.tensor(ids[:MOST_TOKENS], dtype=torch.long)[None])
    for hook in hooks:
        hook.remove()
    return [_means(kept) for kept in found]


def _shares(given: Tensor) -> Tensor:
    """Return zeros and negligible ones by token, and skippable neurons: of [tokens, neurons]."""
    squares = given.square()
    rising, places = squares.sort(dim=1)
    sums = rising.cumsum(dim=1)
    small = sums <= NEGLIGIBLE_NORM**2 * sums[:, -1:]
    negligible = torch.zeros_like(small).scatter(1, places, small)
    numbers = ((given == 0).float().mean(), negligible.float().mean(), negligible.all(0).float())
    return torch.stack([*numbers[:2], numbers[2].mean(), torch.tensor(float(len(given)))])


def _means(kept: Sequence[Tensor]) -> Activations:
    shares = torch.stack(list(kept)).double()
    tokens = shares[:, 3]
    zero, negligible = ((shares[:, i] * tokens).sum() / tokens.sum() for i in (0, 1))
    return Activations(
        zero=float(zero), negligible=float(negligible), skippable=float(shares[:, 2].mean())
    )


def mean_of(layers: Sequence[Mapping[str, float]], what: str) -> float:
    """Return the mean over layers of one of the shares."""
    return sum(layer[what] for layer in layers) / len(layers)
