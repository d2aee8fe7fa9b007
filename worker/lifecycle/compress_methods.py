"""The ways to make a model smaller: which sizes there are, and the model of each size."""

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch

from schemas.job import ModelPin
from schemas.labelled import Problem
from schemas.model_files import WEIGHTS
from worker.engine.device import choose_device
from worker.lifecycle import pruning, quantizing
from worker.lifecycle.importance import (
    batches_of,
    head_importance,
    layer_importance,
    neuron_importance,
)
from worker.lifecycle.train_base import Base
from worker.lifecycle.train_data import Examples
from worker.lifecycle.train_recipe import Recipe

Method = Literal["bf16", "int8", "prune-layers", "prune-ffn", "prune-heads", "distil"]
METHODS: tuple[Method, ...] = get_args(Method)
TRAINED = frozenset(METHODS) - {"bf16", "int8"}
IMPORTANCE_ROWS = 512
NEURON_STEPS = 16  # sizes of the feed-forward part are so many parts of it


class Candidates(Protocol):
    """Models of several sizes made from one.

    Attributes:
        unit: What a size counts.
        whole: The size of the model they are made from.
        sizes: Smaller ones, rising.
    """

    unit: str
    whole: int
    sizes: Sequence[int]

    def write(self, size: int, folder: Path) -> None:
        """Write the model of this size to the new folder `folder`."""


class Stored:
    """The same weights in fewer bits."""

    unit = "bits"

    def __init__(self, method: Method, parent: Path) -> None:
        self.whole = 8 * max(w.element_size() for w in quantizing.read_weights(parent).values())
        self.sizes: Sequence[int] = (16 if method == "bf16" else 8,)
        self._parent = parent

    def write(self, size: int, folder: Path) -> None:
        """Store the weights in so many bits."""
        (quantizing.store_bf16 if size == 16 else quantizing.store_int8)(self._parent, folder)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What a model is cut and trained with.

    Attributes:
        base: The model that is made smaller.
        rows: What to score importance and train on.
        recipe: How to train; without epochs nothing is trained.
    """

    base: Base
    pin: ModelPin
    problem: Problem
    rows: Examples
    recipe: Recipe

    def load(self) -> tuple[Any, Any]:
        """Return model and tokenizer, in float32."""
        from worker.lifecycle.train_model import load_base

        return load_base(self.base, self.recipe, self.problem, self.pin.labels)

    def write(self, model: Any, folder: Path) -> None:
        """Write a changed model, with all that is not its weights as the parent has it."""
        written = folder.with_name(f"{folder.name}.all")
        model.save_pretrained(written, max_shard_size="1TB")
        quantizing.copy_others(self.base.folder, folder)
        for name in ("config.json", WEIGHTS):
            (written / name).chmod(quantizing.READABLE)
            (written / name).replace(folder / name)
        shutil.rmtree(written)


class Pruned:
    """The model with its least important layers, neurons or heads cut out, and trained again."""

    def __init__(self, method: Method, material: Material) -> None:
        self._material = material
        self._model, self._tokenizer = material.load()
        config = self._model.config
        self.unit, self.whole = {
            "prune-layers": ("layers", int(config.num_hidden_layers)),
            "prune-ffn": ("neurons a layer", int(getattr(config, pruning.neurons_key(config)))),
            "prune-heads": ("heads a layer", int(config.num_attention_heads)),
        }[method]
        self.sizes: Sequence[int] = range(1, self.whole)
        if method == "prune-ffn":
            parts = (self.whole * i // NEURON_STEPS for i in range(1, NEURON_STEPS))
            self.sizes = sorted({part for part in parts if part})
        self._cut: Callable[[Any, int], None] = self._cutter(method)

    def write(self, size: int, folder: Path) -> None:
        """Cut a copy of the model to this size, train it, and write it."""
        model = copy.deepcopy(self._model)
        self._cut(model, size)
        if self._material.recipe.epochs:
            self._train(model, folder.with_name("training"))
        self._material.write(model, folder)

    def _train(self, model: Any, folder: Path) -> None:
        from worker.lifecycle.fitting import Task, fit

        m = self._material
        task = Task(problem=m.problem, labels=len(m.pin.labels), train=m.rows, validation=None)
        model.train()
        fit(model, self._tokenizer, task, m.recipe, folder)
        model.to("cpu")

    def _cutter(self, method: Method) -> Callable[[Any, int], None]:
        """Return what cuts a model to a size; importance is scored once, of the whole model."""
        if not self.sizes:
            return lambda _model, _size: None
        m = self._material
        drawn = np.random.default_rng(m.recipe.seed).permutation(len(m.rows))[:IMPORTANCE_ROWS]
        device = choose_device(m.recipe.device)
        batches = batches_of(
            self._tokenizer,
            [m.rows.texts[i] for i in drawn],
            m.rows.targets[drawn],
            m.recipe.max_length or m.base.max_length,
            device,
        )
        model = self._model.to(device)
        try:
            if method == "prune-layers":
                layers = layer_importance(model, batches)
                return lambda model, size: pruning.keep_layers(
                    model, pruning.most_important(layers, size)
                )
            score = neuron_importance if method == "prune-ffn" else head_importance
            keep = pruning.keep_neurons if method == "prune-ffn" else pruning.keep_heads
            scores = score(model, batches, m.problem)
        finally:
            self._model.to("cpu")
        return lambda model, size: keep(model, [pruning.most_important(s, size) for s in scores])


def is_bf16(folder: Path) -> bool:
    """Say whether all weights of a model are in bf16 already."""
    return all(
        weight.dtype == torch.bfloat16 for weight in quantizing.read_weights(folder).values()
    )
