"""The numbers of a recipe as the arguments of Trainer, on the device that there is."""

import math
from pathlib import Path

import torch
from transformers import TrainingArguments

from schemas.errors import ConfigurationError, UsageError
from schemas.labelled import Problem
from schemas.model_families import FAMILIES
from worker.lifecycle.optimizers import SCHEDULES
from worker.lifecycle.train_recipe import SMALLER_IS_BETTER, Recipe

LOGS = 100  # points of the loss curve, about


def steps_in_epoch(rows: int, recipe: Recipe) -> int:
    """Return how often the weights change while all rows are seen once."""
    return math.ceil(math.ceil(rows / recipe.batch_rows) / recipe.accumulate)


def make_arguments(
    recipe: Recipe,
    problem: Problem,
    model_type: str,
    folder: Path,
    *,
    rows: int,
    validates: bool,
    saves: bool,
) -> TrainingArguments:
    """Return the arguments of a training.

    Args:
        recipe: How to train.
        problem: What a label is.
        model_type: The family.
        folder: For checkpoints.
        rows: How many there are to train on.
        validates: Whether there are validation data.
        saves: Whether checkpoints are written.

    Raises:
        ConfigurationError: There is no such device.
        UsageError: The family cannot compute in bf16.
    """
    steps_per_epoch = steps_in_epoch(rows, recipe)
    steps = math.ceil(steps_per_epoch * recipe.epochs)
    interval = max(steps_per_epoch // recipe.validations, 1)
    metric = recipe.metric_for(problem)
    cuda = _on_cuda(recipe)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_rows,
        per_device_eval_batch_size=2 * recipe.batch_rows,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.largest_step,
        lr_scheduler_type=SCHEDULES[recipe.schedule],
        warmup_steps=math.ceil(steps * recipe.warmup),
        max_grad_norm=recipe.clip,
        bf16=_in_bf16(model_type, recipe, cuda=cuda),
        use_cpu=not cuda,
        dataloader_num_workers=0,
        dataloader_pin_memory=cuda,
        logging_steps=max(steps // LOGS, 1),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validates else "no",
        eval_steps=interval if validates else None,
        save_strategy="steps" if saves else "no",
        # Without validation: at the end, and now and then by TimedCheckpoints.
        save_steps=interval if validates else steps,
        save_total_limit=1,
        load_best_model_at_end=validates and saves,
        metric_for_best_model=metric if validates else None,
        greater_is_better=metric not in SMALLER_IS_BETTER,
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        report_to="none",
        seed=recipe.seed,
    )
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1  # several would be DataParallel, which changes the size of a step
    return arguments


def _on_cuda(recipe: Recipe) -> bool:
    there = torch.cuda.is_available()
    if recipe.device == "cuda" and not there:
        raise ConfigurationError("--device cuda: this machine has no GPU that torch can use")
    return there and recipe.device != "cpu"


def _in_bf16(model_type: str, recipe: Recipe, *, cuda: bool) -> bool:
    able = FAMILIES[model_type].half_precision
    if recipe.precision == "bf16" and not able:
        raise UsageError(f"--dtype bf16: models of type {model_type} cannot be computed in it")
    if recipe.precision == "auto":
        return able and cuda and torch.cuda.is_bf16_supported()
    return recipe.precision == "bf16"


def device_name(device: torch.device) -> str:
    """Return the device's name, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
