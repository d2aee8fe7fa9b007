"""Students that are taught what a model says: some of its own layers, or another architecture."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.lifecycle import pruning, quantizing
from worker.lifecycle.compress_methods import Material
from worker.lifecycle.train_base import Base


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a student is told.

    Attributes:
        logits: Of the teacher [rows, labels], for the rows of the material.
        share: Of the loss, that of the teacher.
        temperature: As in `distillation_loss`.
    """

    logits: NDArray[np.float32]
    share: float
    temperature: float

    def teach(self, student: Any, tokenizer: Any, material: Material, folder: Path) -> None:
        """Train a student in place, and leave it on the CPU."""
        from worker.lifecycle.distilling import distil

        student.train()
        distil(
            student,
            tokenizer,
            material.problem,
            material.rows,
            self.logits,
            material.recipe,
            folder,
            share=self.share,
            temperature=self.temperature,
        )
        student.to("cpu")


class ShallowStudent:
    """A student that begins as some layers of the teacher, evenly spaced."""

    unit = "layers"

    def __init__(self, material: Material, lesson: Lesson, layers: int | None) -> None:
        self._material, self._lesson = material, lesson
        self._model, self._tokenizer = material.load()
        self.whole = int(self._model.config.num_hidden_layers)
        wanted = self.whole // 2 if layers is None else layers
        self.sizes: Sequence[int] = (wanted,) if 0 < wanted < self.whole else ()

    def write(self, size: int, folder: Path) -> None:
        """Train a student of so many layers, and write it."""
        from worker.lifecycle.distilling import student_layers

        student = copy.deepcopy(self._model)
        pruning.keep_layers(student, student_layers(self.whole, size))
        self._lesson.teach(student, self._tokenizer, self._material, folder.with_name("training"))
        self._material.write(student, folder)


class OtherStudent:
    """A student of another architecture, with a tokenizer of its own."""

    unit = "parameters"

    def __init__(self, material: Material, lesson: Lesson, base: Base) -> None:
        from worker.lifecycle.train_model import load_base

        labels = tuple(material.pin.labels)
        anew = base.head is not None and base.head.labels != labels
        length = min(material.recipe.max_length or base.max_length, base.max_length)
        recipe = replace(material.recipe, base=base.name, new_head=anew, max_length=length)
        teacher = quantizing.read_weights(material.base.folder)
        self.whole = sum(weight.numel() for weight in teacher.values())
        self._material, self._lesson = replace(material, base=base, recipe=recipe), lesson
        self._model, self._tokenizer = load_base(base, recipe, material.problem, labels)
        self.sizes: Sequence[int] = (sum(w.numel() for w in self._model.parameters()),)

    def write(self, size: int, folder: Path) -> None:
        """Train the student, and write it."""
        from worker.lifecycle.train_model import save_model

        self._lesson.teach(
            self._model, self._tokenizer, self._material, folder.with_name("training")
        )
        save_model(self._model, self._tokenizer, folder)
