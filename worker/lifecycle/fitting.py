"""The training itself, on the Trainer of transformers: model in, fitted weights out."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
)

from schemas.errors import DeviceOutOfMemory
from schemas.labelled import Problem
from schemas.model_files import WEIGHTS
from worker.engine.faults import is_out_of_memory
from worker.lifecycle.losses import balanced_weights, make_loss
from worker.lifecycle.optimizers import make_optimizer
from worker.lifecycle.train_arguments import device_name, make_arguments, steps_in_epoch
from worker.lifecycle.train_curves import metric_names
from worker.lifecycle.train_data import Examples
from worker.lifecycle.train_metrics import measure
from worker.lifecycle.train_order import LengthGroupedOrder
from worker.lifecycle.train_progress import EpochOrder, LastStep, Progress, TimedCheckpoints
from worker.lifecycle.train_recipe import Recipe

TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What is learnt: rows, and a model for so many labels."""

    problem: Problem
    labels: int
    train: Examples
    validation: Examples | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How it went.

    Attributes:
        history: What Trainer logged: losses, and metrics of the validation data as `eval_…`.
        steps: Steps that were done.
        best_step: The step whose weights were kept; None for the last one.
    """

    history: list[dict[str, Any]]
    steps: int
    best_step: int | None
    device: str
    precision: str

    @property
    def loss(self) -> float:
        """The mean loss over all steps."""
        logs = [(entry["step"], entry["loss"]) for entry in self.history if "loss" in entry]
        steps = np.diff([0, *(step for step, _ in logs)])
        return float(np.average([loss for _, loss in logs], weights=steps)) if logs else math.nan

    @property
    def validation(self) -> dict[str, float]:
        """What was measured on the validation data with the weights that were kept."""
        found = [entry for entry in self.history if "eval_loss" in entry]
        kept = [entry for entry in found if self.best_step in (None, entry["step"])]
        names = metric_names(found)
        return {name: kept[-1][f"eval_{name}"] for name in ("loss", *names)} if kept else {}

    @property
    def seconds(self) -> float:
        """Time that the steps took, before and after a break, validation included."""
        return max((float(entry.get("seconds", 0)) for entry in self.history), default=0.0)


def fit(
    model: Any,
    tokenizer: Any,
    task: Task,
    recipe: Recipe,
    folder: Path,
    *,
    resume: Path | None = None,
    checkpoint_seconds: float | None = None,
    name: str = "",
    callbacks: Sequence[TrainerCallback] = (),
) -> Fitted:
    """Train `model` in place; with validation data it ends with the best weights there were.

    Args:
        model: From `load_base`.
        tokenizer: From `load_base`.
        task: What to learn.
        recipe: How.
        folder: For the checkpoints.
        resume: The checkpoint to go on from.
        checkpoint_seconds: Time between two checkpoints, besides those at each validation; None
            for no checkpoints at all.
        name: Goes before each line of progress.
        callbacks: Further ones.

    Raises:
        DeviceOutOfMemory: A step does not fit.
        ConfigurationError: There is no such device.
        UsageError: The loss is no number any more, or the family cannot compute in bf16.
    """
    progress = Progress(name)
    rows = _rows(tokenizer, task.train, recipe)
    order = LengthGroupedOrder(
        [len(row["input_ids"]) for row in rows],
        recipe.batch_rows * recipe.accumulate,
        recipe.seed,
    )
    steps_per_epoch = steps_in_epoch(len(rows), recipe)
    hooks = [progress, EpochOrder(order, steps_per_epoch), LastStep(), *callbacks]
    if checkpoint_seconds is not None:
        hooks.append(TimedCheckpoints(checkpoint_seconds))
    if recipe.patience is not None and task.validation is not None:
        hooks.append(EarlyStoppingCallback(early_stopping_patience=recipe.patience))
    arguments = make_arguments(
        recipe,
        task.problem,
        model.config.model_type,
        folder,
        rows=len(rows),
        validates=task.validation is not None,
        saves=checkpoint_seconds is not None,
    )
    trainer = _Trainer(
        recipe,
        order,
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=_by_length(tokenizer, task.validation, recipe),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_loss_func=make_loss(
            task.problem, weights=_weights(task, recipe), smoothing=recipe.label_smoothing
        ),
        compute_metrics=lambda found: measure(task.problem, found.predictions, found.label_ids),
        preprocess_logits_for_metrics=_logits,
        callbacks=hooks,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        _train(trainer, resume)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise DeviceOutOfMemory(
                f"a step with {recipe.batch_rows} rows of up to {recipe.max_length} tokens does "
                f"not fit into {arguments.device}: give a smaller --batch-size, and as much more "
                "--accumulate for the same result"
            ) from error
        raise
    finally:
        progress.close()
    return Fitted(
        history=trainer.state.log_history,
        steps=trainer.state.global_step,
        best_step=trainer.state.best_global_step if task.validation is not None else None,
        device=device_name(arguments.device),
        precision="bf16" if arguments.bf16 else "fp32",
    )


class _Trainer(Trainer):  # type: ignore[misc]
    """Trainer with our optimizers, our order of the rows, and the time in its log."""

    def __init__(self, recipe: Recipe, order: LengthGroupedOrder, **given: Any) -> None:
        self._recipe, self._order = recipe, order
        self.seconds_before = 0.0
        super().__init__(**given)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the optimizer of the recipe, made once."""
        if getattr(self, "optimizer", None) is None:
            self.optimizer = make_optimizer(model or self.model, self._recipe)
        return self.optimizer

    def _get_train_sampler(self, _dataset: Any = None) -> Sampler[int]:
        return self._order

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the seconds since the training began, breaks left out."""
        if start_time is not None:
            logs["seconds"] = round(self.seconds_before + time.time() - start_time, 2)
        super().log(logs)


def _train(trainer: _Trainer, resume: Path | None) -> None:
    """Train, or go on; a training that had ended before it was killed only loads its weights."""
    if resume is None:
        trainer.train()
        return
    state = json.loads((resume / TRAINER_STATE).read_bytes())
    trainer.seconds_before = max(entry.get("seconds", 0.0) for entry in state["log_history"])
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {})
    stopped = control.get("args", {}).get("should_training_stop", False)
    if not stopped and state["global_step"] < state["max_steps"]:
        trainer.train(resume_from_checkpoint=str(resume))
        return
    trainer.state = type(trainer.state).load_from_json(str(resume / TRAINER_STATE))
    best = resume.parent / f"checkpoint-{trainer.state.best_global_step}"
    weights = load_file((best if best.is_dir() else resume) / WEIGHTS)
    trainer.model.load_state_dict(weights)


def _weights(task: Task, recipe: Recipe) -> Any:
    if recipe.class_weights == "none":
        return None
    return balanced_weights(task.problem, task.train.targets, task.labels)


def _rows(tokenizer: Any, rows: Examples, recipe: Recipe) -> list[dict[str, Any]]:
    ids = tokenizer(rows.texts, truncation=True, max_length=recipe.max_length)["input_ids"]
    return [{"input_ids": i, "labels": t} for i, t in zip(ids, rows.targets.tolist(), strict=True)]


def _by_length(
    tokenizer: Any, rows: Examples | None, recipe: Recipe
) -> list[dict[str, Any]] | None:
    """Return rows to measure on, those of about the same length together: less padding."""
    if rows is None:
        return None
    return sorted(_rows(tokenizer, rows, recipe), key=lambda row: len(row["input_ids"]))


def _logits(outputs: Any, _labels: Any) -> Any:
    return outputs[0] if isinstance(outputs, tuple) else outputs
