"""Trains a student to say what a teacher says: Hinton et al. 2015, Distilling the Knowledge.

loss = a T² KL(teacher/T || student/T) + (1 - a) CE. The student begins as every second layer of
the teacher, as DistilBERT did (Sanh et al. 2019, section 3).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer

from schemas.errors import DeviceOutOfMemory
from schemas.labelled import Problem
from worker.engine.faults import is_out_of_memory
from worker.lifecycle.losses import make_loss
from worker.lifecycle.optimizers import make_optimizer
from worker.lifecycle.train_arguments import make_arguments
from worker.lifecycle.train_data import Examples
from worker.lifecycle.train_order import LengthGroupedOrder
from worker.lifecycle.train_progress import EpochOrder, Progress
from worker.lifecycle.train_recipe import Recipe


def student_layers(teacher: int, student: int) -> list[int]:
    """Return which of the teacher's layers a student of so many begins with, evenly spaced."""
    return [i * teacher // student for i in range(student)]


def distillation_loss(
    problem: Problem, *, share: float, temperature: float
) -> Callable[..., Tensor]:
    """Return the loss, a function of (outputs, labels, items of the whole step).

    `labels` float32 [rows, 1 + labels] are the target and then the teacher's logits; with several
    labels a text [rows, 2 labels]. Each label is a distribution of its own there; of a regression
    the distance is the squared error, which has no temperature.

    Args:
        problem: What a label is.
        share: `a`, of the teacher.
        temperature: `T`.
    """
    hard_loss = make_loss(problem)

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        logits = outputs["logits"].float()
        # Trainer counts every number among the labels as an item.
        rows = len(labels) if num_items_in_batch is None else num_items_in_batch / labels.shape[1]
        classes = logits.shape[1]
        taught, wanted = labels[:, -classes:], labels[:, :-classes]
        items = rows * wanted.shape[1]
        if problem != "multi-label":
            wanted = wanted[:, 0].long() if problem == "single-label" else wanted[:, 0]
        hard = hard_loss(outputs, wanted, num_items_in_batch=items)
        soft = _distance(problem, logits, taught, temperature) / items
        return share * soft + (1 - share) * hard

    return loss


def _distance(problem: Problem, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² KL(teacher/T || student/T), summed over rows and labels."""
    if problem == "regression":
        return functional.mse_loss(student, teacher, reduction="sum")
    cooled, taught = student / temperature, teacher / temperature
    if problem == "single-label":
        divergence = functional.kl_div(
            cooled.log_softmax(-1), taught.log_softmax(-1), reduction="sum", log_target=True
        )
    else:
        chance = taught.sigmoid()
        divergence = functional.binary_cross_entropy_with_logits(cooled, chance, reduction="sum")
        divergence = divergence - functional.binary_cross_entropy_with_logits(
            taught, chance, reduction="sum"
        )
    return temperature**2 * divergence


def distil(
    student: Any,
    tokenizer: Any,
    problem: Problem,
    rows: Examples,
    teacher_logits: NDArray[np.float32],
    recipe: Recipe,
    folder: Path,
    *,
    share: float,
    temperature: float,
) -> None:
    """Train `student` in place.

    Args:
        student: A transformers classifier.
        tokenizer: Its tokenizer, the same as the teacher's.
        problem: What a label is.
        rows: What to train on.
        teacher_logits: [rows, labels].
        recipe: How to train.
        folder: For what Trainer leaves.
        share: Of the loss, that of the teacher.
        temperature: As in `distillation_loss`.

    Raises:
        DeviceOutOfMemory: A step does not fit.
    """
    ids = tokenizer(rows.texts, truncation=True, max_length=recipe.max_length)["input_ids"]
    targets = np.column_stack([rows.targets, teacher_logits]).astype(np.float32)
    data = [{"input_ids": i, "labels": t} for i, t in zip(ids, targets.tolist(), strict=True)]
    order = LengthGroupedOrder([len(i) for i in ids], recipe.batch_rows, recipe.seed)
    arguments = make_arguments(
        recipe, problem, student.config.model_type, folder,
        rows=len(data), validates=False, saves=False,
    )  # fmt: skip
    progress = Progress("distil")
    steps = -(-len(data) // recipe.batch_rows)
    trainer = _Trainer(
        recipe,
        order,
        model=student,
        args=arguments,
        train_dataset=data,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_loss_func=distillation_loss(problem, share=share, temperature=temperature),
        callbacks=[progress, EpochOrder(order, steps)],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise DeviceOutOfMemory(
                f"a step with {recipe.batch_rows} rows does not fit into {arguments.device}: give "
                "a smaller --batch-size"
            ) from error
        raise
    finally:
        progress.close()


class _Trainer(Trainer):  # type: ignore[misc]
    """Trainer with our optimizers and our order of the rows."""

    def __init__(self, recipe: Recipe, order: LengthGroupedOrder, **given: Any) -> None:
        self._recipe, self._order = recipe, order
        super().__init__(**given)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the optimizer of the recipe, made once."""
        if getattr(self, "optimizer", None) is None:
            self.optimizer = make_optimizer(model or self.model, self._recipe)
        return self.optimizer

    def _get_train_sampler(self, _dataset: Any = None) -> LengthGroupedOrder:
        return self._order
