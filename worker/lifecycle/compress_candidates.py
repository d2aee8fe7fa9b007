"""The candidates of a compression: what it reads and makes before the search begins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schemas.errors import UsageError
from schemas.job import ModelPin
from schemas.labelled import LabelledTexts, read_labelled
from schemas.storage import Storage
from worker.lifecycle.compress_methods import TRAINED, Candidates, Material, Pruned, Stored
from worker.lifecycle.compress_request import Request
from worker.lifecycle.compress_students import Lesson, OtherStudent, ShallowStudent
from worker.lifecycle.evaluation import Settings, Tell, loaded
from worker.lifecycle.evaluation_facts import PROBLEMS
from worker.lifecycle.labelled import targets
from worker.lifecycle.teacher_scores import Logits, engine_logits, job_logits
from worker.lifecycle.train_base import describe_base, fetch_base
from worker.lifecycle.train_data import Examples
from worker.lifecycle.train_recipe import MAX_LENGTH
from worker.model_store import ModelStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One compression.

    Attributes:
        storage: The door to objects.
        store: Keeps the files of models.
        models_uri: Where the registry is, if there is one.
        pin: The model.
        request: What is asked for.
        how: How models score.
        scratch: An empty folder for what is made on the way.
        tell: Called with what is done next.
    """

    storage: Storage
    store: ModelStore
    models_uri: str | None
    pin: ModelPin
    request: Request
    how: Settings
    scratch: Path
    tell: Tell


def prepare(task: Task) -> Callable[[], Candidates]:
    """Read what there is to train on, and return what makes the candidates.

    Raises:
        BulkError: As `read_labelled`, or a label is none of the model's.
    """
    request, pin = task.request, task.pin
    if request.method not in TRAINED:
        return lambda: Stored(request.method, task.store.fetch(pin))
    rows = read_labelled(task.storage, request.train_data, request.columns)
    examples = Examples(texts=rows.texts, targets=targets(rows, pin.labels))
    if request.method == "distil":
        return lambda: _student(task, rows, examples)

    def pruned() -> Candidates:
        task.tell(f"{request.ref}: scoring importance")
        return Pruned(request.method, _material(task, examples))

    return pruned


def _material(task: Task, rows: Examples) -> Material:
    recipe, pin = task.request.recipe, task.pin
    return Material(
        base=describe_base(task.store.fetch(pin), task.request.ref, pin.name),
        pin=pin,
        problem=PROBLEMS[pin.problem_type],
        rows=rows,
        recipe=replace(recipe, max_length=min(recipe.max_length or MAX_LENGTH, pin.max_length)),
    )


def _student(task: Task, labelled: LabelledTexts, rows: Examples) -> Candidates:
    request, logits = task.request, _teacher_logits(task, labelled)
    known = np.flatnonzero(np.isfinite(logits).all(axis=1))
    if not len(known):
        raise UsageError("--train-data: the model can score none of its rows")
    rows = Examples(texts=[rows.texts[i] for i in known], targets=rows.targets[known])
    material = _material(task, rows)
    lesson = Lesson(logits=logits[known], share=request.share, temperature=request.temperature)
    if request.student is None:
        return ShallowStudent(material, lesson, request.layers)
    place = task.scratch / "student"
    place.mkdir()
    base = fetch_base(
        replace(request.recipe, base=request.student),
        rows.texts,
        task.storage,
        models_uri=task.models_uri,
        store=task.store,
        scratch=place,
    )
    return OtherStudent(material, lesson, base)


def _teacher_logits(task: Task, labelled: LabelledTexts) -> Logits:
    if task.request.teacher_scores is not None:
        return job_logits(task.storage, task.request.teacher_scores, labelled, task.pin)
    task.tell(f"{task.request.ref}: teaches {len(labelled.rows):,} rows")
    return engine_logits(loaded(task.store, task.pin, task.how), labelled.texts)
