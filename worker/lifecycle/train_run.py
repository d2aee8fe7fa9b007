"""A training from data to a model in its place, each step such that it can be done again."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import UsageError
from schemas.labelled import Problem
from schemas.model_files import pin_model
from schemas.settings import RegistrySettings, StorageSettings, WorkerSettings, load
from schemas.storage import Storage
from worker.lifecycle.train_base import Base, describe_base, fetch_base
from worker.lifecycle.train_data import (
    Examples,
    Rows,
    choose_labels,
    examples,
    read_rows,
    say,
    warn,
)
from worker.lifecycle.train_disk import on_disk
from worker.lifecycle.train_metrics import intervals, measure, rounded
from worker.lifecycle.train_out import Out
from worker.lifecycle.train_recipe import ARCHITECTURES, MAX_LENGTH, Recipe, Sources
from worker.lifecycle.train_report import Metrics, libraries, read_metrics, write_report
from worker.lifecycle.train_work import Work, claim, identity_digest
from worker.model_store import ModelStore

CHECKPOINT_SECONDS = 120.0


def train(
    recipe: Recipe,
    sources: Sources,
    out: Out,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Metrics:
    """Train a classifier and put it in its place, whole or not at all.

    What was done before the process died is not done again: the same call goes on from the last
    checkpoint in the work folder.

    Args:
        recipe: How.
        sources: On what.
        out: Where to.
        checkpoint_seconds: Time between two checkpoints, besides those at each validation.

    Raises:
        UsageError: Something is there already, the labels make no sense, options do not fit.
        ModelIncompatible: The base cannot carry a classification head.
        BulkError: As `read_labelled`, `fetch_base` and `fit`.
    """
    recipe.require_fit(sources.problem)
    delivered = out.delivered()
    if delivered is None:
        out.require_free()
    storage = Storage(load(StorageSettings))
    rows = read_rows(storage, sources, recipe)
    with tempfile.TemporaryDirectory(prefix="bulkscore-base-") as scratch:
        base = None
        if recipe.base not in ARCHITECTURES:
            base = _fetch(recipe, rows, storage, Path(scratch))
        head = None if base is None or recipe.new_head else base.head
        names = choose_labels(rows, recipe, head, sources.columns.label)
        sides = {
            name: examples(side, names)
            for name, side in (
                *(("train", rows.train), ("validation", rows.validation)),
                ("test", rows.test),
            )
            if side is not None
        }
        identity = {
            "recipe": recipe.as_json(),
            "data": rows.digests(),
            "base": base.digest if base else str(recipe.base),
            "problem": sources.problem,
        }
        with on_disk(out.work_folder), claim(out.work_folder, identity) as work:
            if delivered is not None:
                work.remove()
                return read_metrics(delivered)
            if base is None:
                base = _built(recipe, rows, storage, work)
            recipe = _with_length(recipe, base)
            if work.finished.exists():
                metrics = read_metrics(work.finished)
            else:
                _warn(recipe, rows, names, storage, base)
                training = _Training(recipe, base, names, sources.problem, sides, work)
                metrics = training.finish(identity, checkpoint_seconds)
            out.deliver(work, base.parent)
            work.remove()
    return metrics


class _Training:
    """One training, from a base to a finished model in its work folder."""

    def __init__(
        self,
        recipe: Recipe,
        base: Base,
        names: Sequence[str],
        problem: Problem,
        sides: Mapping[str, Examples],
        work: Work,
    ) -> None:
        self._recipe, self._base, self._names, self._work = recipe, base, names, work
        self._problem, self._sides = problem, sides

    def finish(self, identity: dict[str, Any], checkpoint_seconds: float) -> Metrics:
        """Train, measure and write everything down; `work.finished` is there then."""
        from worker.lifecycle.fitting import Fitted, Task, fit
        from worker.lifecycle.train_model import load_base, save_model

        recipe, work = self._recipe, self._work
        task = Task(
            problem=self._problem,
            labels=len(self._names),
            train=self._sides["train"],
            validation=self._sides.get("validation"),
        )
        trials: tuple[dict[str, Any], ...] = ()

        def load_model() -> tuple[Any, Any]:
            return load_base(self._base, recipe, self._problem, self._names)

        if recipe.search:
            from worker.lifecycle.train_search import search

            recipe, trials = search(recipe, task, load_model, work.folder)
        model, tokenizer = load_model()
        checkpoint = work.checkpoint()
        if checkpoint is not None:
            say(f"goes on from {checkpoint.name} in {work.folder}")
        fitted: Fitted = fit(
            model,
            tokenizer,
            task,
            recipe,
            work.checkpoints,
            resume=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
        )
        model_folder = work.new_scratch() / "model"
        save_model(model, tokenizer, model_folder)
        metrics = Metrics(
            run=identity_digest(identity),
            problem=self._problem,
            labels=tuple(self._names),
            train_rows=len(task.train),
            validation_rows=len(task.validation or ()),
            test_rows=len(self._sides.get("test", ())),
            train_seconds=round(fitted.seconds, 1),
            train_loss=round(fitted.loss, 4),
            steps=fitted.steps,
            best_step=fitted.best_step,
            base=self._base.name,
            device=fitted.device,
            precision=fitted.precision,
            recipe=recipe.as_json() | {"base": self._base.name},
            data=identity["data"],
            validation=rounded(fitted.validation),
            search=trials,
            curve=tuple(fitted.history),
            libraries=libraries(),
        )
        if "test" in self._sides:
            metrics = _tested(metrics, model_folder, self._sides["test"], recipe.seed)
        write_report(metrics, model_folder)
        model_folder.rename(work.finished)
        return metrics


def _tested(metrics: Metrics, folder: Path, test: Examples, seed: int) -> Metrics:
    """Return `metrics` with those of the test data, scored as a job would score it."""
    from worker.engine.loading import load_engine
    from worker.tokenizer import Tokenizer

    pin = pin_model(Storage().for_own_files, str(folder))
    encoded = Tokenizer(folder, pin.max_length).encode(test.texts)
    usable = np.flatnonzero(~encoded.failed)
    logits = np.full((len(test), len(pin.labels)), np.nan, dtype=np.float32)
    logits[usable] = load_engine(folder, pin).forward([encoded.ids[i] for i in usable])
    return replace(
        metrics,
        test=rounded(measure(metrics.problem, logits, test.targets)),
        intervals=intervals(metrics.problem, logits, test.targets, seed),
    )


def _fetch(recipe: Recipe, rows: Rows, storage: Storage, scratch: Path) -> Base:
    store = ModelStore(storage, load(WorkerSettings).model_cache_dir)
    return fetch_base(
        recipe,
        rows.train.texts,
        storage,
        models_uri=load(RegistrySettings).models_uri,
        store=store,
        scratch=scratch,
    )


def _built(recipe: Recipe, rows: Rows, storage: Storage, work: Work) -> Base:
    """Return a base with random weights; when the training goes on, the one it began with."""
    kept = work.folder / "base"
    if not kept.exists():
        _fetch(recipe, rows, storage, work.new_scratch()).folder.rename(kept)
    return describe_base(kept, str(recipe.base), f"{recipe.base}, random weights")


def _with_length(recipe: Recipe, base: Base) -> Recipe:
    """Return the recipe with the length at which texts are cut, as far as the base reads."""
    if recipe.max_length is None:
        return replace(recipe, max_length=min(MAX_LENGTH, base.max_length))
    if recipe.max_length > base.max_length:
        raise UsageError(
            f"--max-length {recipe.max_length}: {base.name} reads at most {base.max_length} tokens"
        )
    return recipe


def _warn(recipe: Recipe, rows: Rows, names: Sequence[str], storage: Storage, base: Base) -> None:
    """Say on stderr what of the data would spoil the training."""
    from worker.lifecycle.profile import TokensOf, profile_of

    tokens = TokensOf(model=str(base.folder), max_length=recipe.max_length)
    files = storage.for_own_files
    for warning in profile_of(files, rows.train, rows.test, tokens).warnings:
        say(f"warning: {warning}")
    warn(rows, names)
