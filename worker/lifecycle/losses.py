"""What a training makes small: one function of logits and targets for each problem."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from schemas.labelled import Problem

# (outputs of the model, targets, items of the whole step or None) -> scalar, as Trainer wants it.
Loss = Callable[..., torch.Tensor]


def make_loss(
    problem: Problem, *, weights: NDArray[np.float32] | None = None, smoothing: float = 0.0
) -> Loss:
    """Return the loss of a problem.

    Single-label: cross entropy; multi-label: binary cross entropy of each label; regression: mean
    squared error. Sums are divided by the items of the whole step, so that accumulating gradients
    over several batches is the same as one large batch.

    Args:
        problem: What a label is.
        weights: [labels]; single-label: of the rows of each label; multi-label: of the rows where
            the label applies.
        smoothing: Share of a label that is spread over all of them (Szegedy et al. 2016, Rethinking
            the Inception Architecture, section 7).
    """
    weight = None if weights is None else torch.from_numpy(weights)

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"].float()
        scale = weight.to(logits.device) if weight is not None else None
        if problem == "regression":
            total = functional.mse_loss(logits.squeeze(-1), labels.float(), reduction="sum")
        elif problem == "single-label":
            total = functional.cross_entropy(
                logits, labels, weight=scale, label_smoothing=smoothing, reduction="sum"
            )
        else:
            smooth = labels.float() * (1 - smoothing) + smoothing / 2
            total = functional.binary_cross_entropy_with_logits(
                logits, smooth, pos_weight=scale, reduction="sum"
            )
        return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)

    return loss


def balanced_weights(problem: Problem, targets: NDArray[Any], labels: int) -> NDArray[np.float32]:
    """Return weights by which every label counts the same.

    Single-label: rows / (labels x rows of the label), the mean over all rows being 1; multi-label:
    rows where the label does not apply for each one where it does. A label without rows has 1.

    Args:
        problem: `single-label` or `multi-label`.
        targets: As `worker.lifecycle.labelled.targets`.
        labels: How many there are.

    Returns:
        [labels].
    """
    if problem == "multi-label":
        there = targets.sum(axis=0)
        return np.where(there > 0, (len(targets) - there) / np.maximum(there, 1), 1).astype("f4")
    counts = np.bincount(targets, minlength=labels)
    share = len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, share, 1).astype("f4")
