"""Measures models on one data set, as a job would score it, and tells by how much one is worse."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ConfigurationError, ModelIncompatible, UsageError
from schemas.job import Dtype, ModelPin
from schemas.labelled import LabelledTexts
from schemas.model_files import choose_max_length, pin_model
from schemas.storage import Storage
from worker.lifecycle.activations import Activations, activations_of
from worker.lifecycle.bootstrap import Interval, bootstrap_mean
from worker.lifecycle.efficiency import PASS_TEXTS
from worker.lifecycle.efficiency_beside import measure_beside
from worker.lifecycle.evaluated_rows import FIRST_METRIC, EvaluatedRows
from worker.lifecycle.evaluation import Settings, loaded, scored_rows
from worker.lifecycle.quality import Quality, quality_of
from worker.lifecycle.stability import agreement_of
from worker.model_store import ModelStore
from worker.tokenizer import Tokenizer

SMALLER_IS_BETTER = frozenset({"mae", "rmse", "hamming_loss"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A model and what it says of the data; `value` is that of the metric that decides."""

    pin: ModelPin
    dtype: Dtype
    rows: EvaluatedRows
    value: float


class Judge:
    """Judges models by one metric against the model they are made from.

    Args:
        storage: The door to objects.
        store: Keeps the files of models.
        data: What they are measured on.
        how: How they score.
        metric: Of `evaluate`; None for the first one of the problem.
    """

    def __init__(
        self,
        storage: Storage,
        store: ModelStore,
        data: LabelledTexts,
        how: Settings,
        metric: str | None,
    ) -> None:
        self._storage, self._store, self._data, self._how = storage, store, data, how
        self._metric = metric

    def judge(self, pin: ModelPin, dtype: Dtype = "auto") -> Judged:
        """Score the data with a model.

        Raises:
            UsageError: There is no such metric, or as `scored_rows`.
        """
        # Without its signature `auto` means the same to a model and to one made from it.
        pin = pin.model_copy(update={"signature": None})
        model = loaded(self._store, pin, replace(self._how, dtype=dtype))
        rows = scored_rows(model, self._data, self._how)
        metrics = quality_of(rows, seed=self._how.seed, resamples=1).metrics
        value = metrics.get(self.metric_of(pin))
        if value is None:
            known = ", ".join(name for name, found in metrics.items() if found is not None)
            raise UsageError(f"--metric {self._metric}: of this model and data there are {known}")
        return Judged(pin=pin, dtype=dtype, rows=rows, value=value)

    def metric_of(self, pin: ModelPin) -> str:
        """Return the metric that decides."""
        return self._metric or FIRST_METRIC[pin.problem_type]

    def judge_folder(self, folder: Path, dtype: Dtype = "auto") -> Judged:
        """Score the data with the model in a local folder."""
        return self.judge(pin_model(self._storage, str(folder)), dtype)

    def computes_int8(self, folder: Path) -> bool:
        """Say whether model and processor can compute in 8 bits."""
        pin = pin_model(self._storage, str(folder))
        try:
            loaded(self._store, pin, replace(self._how, dtype="int8"))
        except (ConfigurationError, ModelIncompatible, UsageError):
            return False
        return True

    def drop(self, before: Judged, after: Judged) -> float:
        """Return by how much the metric is worse."""
        worse = before.value - after.value
        return -worse if self.metric_of(before.pin) in SMALLER_IS_BETTER else worse

    def drop_interval(self, before: Judged, after: Judged) -> Interval | None:
        """Return the interval of the drop over paired rows; of the first metric alone."""
        if self.metric_of(before.pin) != FIRST_METRIC[before.pin.problem_type]:
            return None
        both = before.rows.scored & after.rows.scored
        usable = both if before.rows.problem == "regression" else np.ones_like(both)
        losses = (before.rows.merits - after.rows.merits)[usable]
        return bootstrap_mean(losses, seed=self._how.seed, resamples=self._how.resamples)

    def quality(self, judged: Judged) -> Quality:
        """Return all metrics with their intervals."""
        return quality_of(judged.rows, seed=self._how.seed, resamples=self._how.resamples)

    def activations(self, judged: Judged) -> list[Activations] | None:
        """Return how much of its feed-forward part does nothing, by layer; see `activations`."""
        folder = self._store.fetch(judged.pin)
        texts = [self._data.texts[i] for i in np.flatnonzero(judged.rows.scored)]
        tokenizer = Tokenizer(folder, choose_max_length(judged.pin, self._how.max_length))
        return activations_of(folder, judged.pin, tokenizer, texts)

    def efficiencies(self, models: Sequence[Judged]) -> list[dict[str, Any]]:
        """Return speed, memory and size of models, measured side by side."""
        mixed = np.random.default_rng(self._how.seed).permutation(len(self._data.rows))
        texts, scored = self._data.texts, models[0].rows.scored
        usable = list(dict.fromkeys(texts[i] for i in mixed if scored[i]))[:PASS_TEXTS]
        folders = [
            (self._store.fetch(each.pin), replace(self._how, dtype=each.dtype)) for each in models
        ]
        return measure_beside(folders, self._store.cache_dir, usable)


def agreement(before: Judged, after: Judged) -> dict[str, Any]:
    """Return the share of rows that both label alike, and how far apart scores are at most."""
    distances = np.abs(before.rows.scores - after.rows.scores)
    same = None if before.rows.problem == "regression" else agreement_of(before.rows, after.rows)
    return {"same_label": same, "largest_difference": float(np.nanmax(distances))}
