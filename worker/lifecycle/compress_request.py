"""What a compression is asked for, and what cannot be asked of a model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.job import ModelPin
from schemas.labelled import LabelledColumns
from schemas.model_families import FUSED
from schemas.model_files import WEIGHTS
from worker.engine.int8_weights import is_int8
from worker.engine.pruned_heads import KEY
from worker.lifecycle.compress_methods import TRAINED, Method, is_bf16
from worker.lifecycle.train_recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        ref: The model.
        metric: Of `evaluate`; None for the first one of the problem.
        max_drop: Most by which the metric may be worse.
        data: What it is measured on.
        train_data: What importance is scored on and weights are trained on.
        recipe: How to train; its `base` is not looked at.
        student: Base of a student; None for layers of the model itself.
        layers: Of such a student; None for half of them.
        share: Of the loss of a student, that of the teacher.
        temperature: As in `distillation_loss`.
        teacher_scores: Output of a job with what the teacher says of `train_data`.
    """

    ref: str
    method: Method
    metric: str | None
    max_drop: float
    data: tuple[str, ...]
    train_data: tuple[str, ...]
    columns: LabelledColumns
    recipe: Recipe
    student: str | None = None
    layers: int | None = None
    share: float = 0.5
    temperature: float = 2.0
    teacher_scores: str | None = None


def require_compressible(pin: ModelPin, folder: Path, request: Request) -> None:
    """Refuse a model that a method cannot make smaller.

    Raises:
        UsageError: It is of another family, or has been compressed before in a way that this
            method cannot go on from.
    """
    method = request.method
    if (folder / WEIGHTS).exists() and is_int8(folder / WEIGHTS):
        raise UsageError(
            f"{request.ref} has weights of 8 bits already: compress the version it was made from"
        )
    if method == "bf16" and is_bf16(folder):
        raise UsageError(f"{request.ref} has its weights in bf16 already")
    if method not in TRAINED:
        return
    if method == "distil" and request.student is not None:
        return
    if pin.model_type not in FUSED:
        raise UsageError(
            f"--method {method}: {request.ref} is of type {pin.model_type}; layers are known of "
            f"{', '.join(sorted(FUSED))}. Use --method bf16 or int8, or distil with a --student"
        )
    if KEY in json.loads((folder / "config.json").read_bytes()):
        raise UsageError(
            f"{request.ref} lacks heads already: --method {method} starts from the version it was "
            "made from; prune heads last"
        )


def training_of(request: Request) -> dict[str, Any]:
    """Return how models are trained, for the record."""
    found = request.recipe.as_json()
    names = ("epochs", "learning_rate", "batch_rows", "max_length", "seed", "optimizer")
    kept = {name: found[name] for name in names}
    if request.method == "distil":
        kept |= {
            "student": request.student,
            "teacher_share": request.share,
            "temperature": request.temperature,
        }
    return kept
