"""Optimizers, and which weights decay: matrices do, biases and norms do not."""

from typing import Any

import torch
from torch import nn

from worker.lifecycle.train_recipe import OptimizerName, Recipe, ScheduleName

MOMENTUM = 0.9  # of SGD

# Names of transformers; constant has a warm-up as all others do.
SCHEDULES: dict[ScheduleName, str] = {
    "linear": "linear",
    "cosine": "cosine",
    "polynomial": "polynomial",
    "inverse_sqrt": "inverse_sqrt",
    "constant": "constant_with_warmup",
}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the weights that are trained in two groups: with decay, and without.

    Vectors are what does not decay: biases, and the gains of LayerNorm and RMSNorm, whatever a
    family calls them.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.dim() > 1], "weight_decay": weight_decay},
        {"params": [w for w in trained if w.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over the weights of `model` that are trained.

    AdamW decays weights apart from the gradient (Loshchilov and Hutter 2019); the others add the
    gradient of an L2 penalty.
    """
    groups = parameter_groups(model, recipe.weight_decay)
    name: OptimizerName = recipe.optimizer
    rate = recipe.largest_step
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM)
    if name == "adagrad":
        return torch.optim.Adagrad(groups, lr=rate)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate)
