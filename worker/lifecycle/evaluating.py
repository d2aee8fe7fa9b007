"""Evaluates a model, and with it a baseline or the same model of other seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from schemas.errors import UsageError
from schemas.job import ModelPin
from schemas.labelled import LabelledColumns, LabelledTexts, Problem, read_labelled
from schemas.model_files import choose_max_length, pin_model, require_precision
from schemas.storage import Storage
from worker.lifecycle.bootstrap import bootstrap_mean
from worker.lifecycle.evaluated_rows import FIRST_METRIC, EvaluatedRows
from worker.lifecycle.evaluation import (
    Record,
    Settings,
    Tell,
    evaluation_of,
    loaded,
    plain,
    scored_rows,
)
from worker.lifecycle.evaluation_facts import PROBLEMS
from worker.lifecycle.quality import quality_of
from worker.lifecycle.stability import agreement_of, stability_of
from worker.model_store import ModelStore


class Evaluator:
    """Evaluates models on one data set, one after the other: one is in memory at a time.

    Args:
        storage: The door to objects.
        models_uri: Where the registry is, if there is one.
        cache_dir: Where the files of models are kept.
        how: The settings, the same for all.
        tell: Called with what is done next.
    """

    def __init__(
        self,
        storage: Storage,
        models_uri: str | None,
        cache_dir: Path,
        how: Settings,
        tell: Tell,
    ) -> None:
        self._storage = storage
        self._models_uri = models_uri
        self._store = ModelStore(storage, cache_dir)
        self._how = how
        self._tell = tell
        self._pins: dict[str, ModelPin] = {}

    def problem_of(self, ref: str, asked: Problem | None) -> Problem:
        """Return what a model solves.

        Raises:
            UsageError: Something else was asked for.
            BulkError: As `pin_model`.
        """
        solves = PROBLEMS[self._pin(ref).problem_type]
        if asked not in (None, solves):
            raise UsageError(f"--problem {asked}: model {ref} is made for {solves}")
        return solves

    def evaluate(
        self,
        ref: str,
        data: Sequence[str],
        columns: LabelledColumns,
        baseline: str | None = None,
        replicates: Sequence[str] = (),
    ) -> Record:
        """Return the evaluation, with those of others in it where they are asked for.

        Raises:
            BulkError: A model cannot be used, the data cannot be read, or they do not belong
                together; as `pin_model`, `load_model`, `read_labelled` and `scored_rows`.
        """
        others = [*([baseline] if baseline else []), *replicates]
        for other in others:
            self._require_alike(ref, other)
        rows = read_labelled(self._storage, data, columns)
        found, said = self._whole(ref, rows)
        if baseline is not None:
            before, said_before = self._whole(baseline, rows)
            kept = ("model", "data", "quality", "calibration", "efficiency", "robustness")
            found["baseline"] = {name: before[name] for name in kept if name in before}
            found["comparison"] = self._compared(said, _in_order(said_before, said))
        if replicates:
            found["stability"] = self._stability(ref, rows, said, found["quality"], replicates)
        return found

    def _pin(self, ref: str) -> ModelPin:
        """Return a model as it is at the first call; all further ones mean the same."""
        if ref not in self._pins:
            pin = pin_model(self._storage, ref, self._models_uri)
            choose_max_length(pin, self._how.max_length)
            require_precision(pin, self._how.dtype)
            self._pins[ref] = pin
        return self._pins[ref]

    def _require_alike(self, ref: str, other: str) -> None:
        ours, theirs = self._pin(ref), self._pin(other)
        if ours.problem_type != theirs.problem_type or set(ours.labels) != set(theirs.labels):
            raise UsageError(
                f"{other} cannot be compared with {ref}: it has other labels "
                f"({', '.join(theirs.labels[:10])}) or solves another problem"
            )

    def _whole(self, ref: str, data: LabelledTexts) -> tuple[Record, EvaluatedRows]:
        model = loaded(self._store, self._pin(ref), self._how)
        return evaluation_of(model, self._store, data, self._how, self._tell)

    def _compared(self, said: EvaluatedRows, before: EvaluatedRows) -> Record:
        """Return by how much the first metric fell, from the same rows before and after."""
        both = said.scored & before.scored if said.problem == "regression" else slice(None)
        losses = (before.merits - said.merits)[both]
        regression = said.problem == "regression"
        record: Record = plain(
            {
                "metric": FIRST_METRIC[said.problem],
                "drop": float(losses.mean()),
                "drop_interval": bootstrap_mean(
                    losses, seed=self._how.seed, resamples=self._how.resamples
                ),
                "agreement": None if regression else agreement_of(said, before),
            }
        )
        return record

    def _stability(
        self,
        ref: str,
        data: LabelledTexts,
        said: EvaluatedRows,
        quality: Record,
        replicates: Sequence[str],
    ) -> Record:
        single = {k: v for k, v in quality.items() if not isinstance(v, dict | list)}
        metrics, rows = [single], [said]
        for other in replicates:
            self._tell(f"{other}: scoring {len(said):,} rows")
            model = loaded(self._store, self._pin(other), self._how)
            rows.append(_in_order(scored_rows(model, data, self._how), said))
            few = quality_of(rows[-1], seed=self._how.seed, resamples=1)
            metrics.append(few.metrics)
        record: Record = plain(stability_of([ref, *replicates], metrics, rows))
        return record


def _in_order(rows: EvaluatedRows, like: EvaluatedRows) -> EvaluatedRows:
    """Return rows with the labels in the order of another model's."""
    order = [rows.labels.index(label) for label in like.labels]
    return replace(rows, labels=like.labels, targets=like.targets, scores=rows.scores[:, order])
