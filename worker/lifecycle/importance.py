"""How much each head, neuron and layer of an encoder matters to the labels of some texts.

Heads and neurons: the mean over texts of |dL/dm|, m being a factor of what the unit gives, 1 as
it is and 0 without it: Michel et al. 2019, Are Sixteen Heads Really Better than One?, equation 2,
which is the first order of what the loss would change by. Layers: one minus the cosine between
what goes in and what comes out, the mean over tokens: Men et al. 2024, ShortGPT, equation 1.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.labelled import Problem
from worker.engine.encoder_parts import head_width, parts_of
from worker.lifecycle.losses import make_loss

BATCH_ROWS = 16

Batch = dict[str, Tensor]


def batches_of(
    tokenizer: Any, texts: Sequence[str], targets: Any, max_length: int, device: torch.device
) -> list[Batch]:
    """Return texts and `labels` as padded batches, texts of about the same length together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = []
    for start in range(0, len(order), BATCH_ROWS):
        rows = order[start : start + BATCH_ROWS]
        batch = tokenizer(
            [texts[i] for i in rows],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )
        labels = torch.as_tensor(targets[rows])
        found.append({**{k: v.to(device) for k, v in batch.items()}, "labels": labels.to(device)})
    return found


def neuron_importance(model: Any, batches: Sequence[Batch], problem: Problem) -> list[Tensor]:
    """Return the importance of the neurons of each layer, float32 [neurons]."""
    places = [parts.down.linear for parts in parts_of(model)]
    return [g.abs().sum(0) for g in _gradients(model, batches, problem, places)]


def head_importance(model: Any, batches: Sequence[Batch], problem: Problem) -> list[Tensor]:
    """Return the importance of the heads of each layer, float32 [heads]."""
    width = head_width(model.config)
    places = [parts.mix.linear for parts in parts_of(model)]
    found = _gradients(model, batches, problem, places)
    return [g.view(len(g), -1, width).sum(2).abs().sum(0) for g in found]


@torch.no_grad()
def layer_importance(model: Any, batches: Sequence[Batch]) -> Tensor:
    """Return the importance of each layer, float32 [layers]."""
    model.eval()
    totals, tokens = torch.zeros(len(parts_of(model))), 0
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        states = model(**inputs, output_hidden_states=True).hidden_states
        there = batch["attention_mask"] > 0
        changes = [
            1 - functional.cosine_similarity(before[there], after[there], dim=-1)
            for before, after in pairwise(states)
        ]
        totals += torch.stack([change.sum() for change in changes]).cpu()
        tokens += int(there.sum())
    return totals / tokens


def _gradients(
    model: Any, batches: Sequence[Batch], problem: Problem, places: Sequence[nn.Linear]
) -> list[Tensor]:
    """Return, for each place, the gradients [texts, width] at a factor of its inputs."""
    model.eval()
    loss_of = make_loss(problem)
    found: list[list[Tensor]] = [[] for _ in places]
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        with _Factors(places, len(batch["labels"])) as factors:
            # Divided by one item: the sum over texts, whose gradients do not mix.
            loss = loss_of(model(**inputs), batch["labels"], num_items_in_batch=1)
            gradients = torch.autograd.grad(loss, factors.factors)
        for kept, gradient in zip(found, gradients, strict=True):
            kept.append(gradient[:, 0].cpu())
    return [torch.cat(kept) for kept in found]


class _Factors:
    """Factors of 1 [texts, 1, width] on what goes into linear maps, while it is entered."""

    def __init__(self, places: Sequence[nn.Linear], texts: int) -> None:
        self.factors = [
            torch.ones(texts, 1, p.in_features, device=p.weight.device, requires_grad=True)
            for p in places
        ]
        self._hooks = list(self._hooked(places))

    def _hooked(self, places: Sequence[nn.Linear]) -> Iterator[Any]:
        for place, factor in zip(places, self.factors, strict=True):
            yield place.register_forward_pre_hook(
                lambda _module, inputs, factor=factor: (inputs[0] * factor,)
            )

    def __enter__(self) -> "_Factors":
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()
