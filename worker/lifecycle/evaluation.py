"""One model on labelled texts: everything that is measured, as one record."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import __version__
from schemas.errors import UsageError
from schemas.job import Dtype, LongText, ModelPin
from schemas.labelled import LabelledTexts
from worker.lifecycle.activations import activations_of
from worker.lifecycle.bootstrap import RESAMPLES
from worker.lifecycle.calibration_error import calibration_of
from worker.lifecycle.curves import curves_of
from worker.lifecycle.efficiency import efficiency_of
from worker.lifecycle.evaluated_rows import THRESHOLD, EvaluatedRows, evaluate_rows
from worker.lifecycle.evaluation_facts import data_facts, mistakes, model_facts
from worker.lifecycle.labelled import targets
from worker.lifecycle.quality import quality_of
from worker.lifecycle.robustness import robustness_of
from worker.lifecycle.slices import slices_of
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model

PARTS = ("efficiency", "robustness", "slices")  # that can be left out
ROBUSTNESS_ROWS = 500
SEEDS = 3

Record = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to evaluate; the options of scoring are those of a job.

    Attributes:
        threshold: Score from which on a label applies, where several may.
        seed: Of all that is drawn.
        seeds: How often texts are spoilt anew, with `seed` and those after it.
        robustness_rows: Rows that are spoilt, drawn by `seed`.
        resamples: Of each bootstrap.
        skip: Of `PARTS`.
    """

    max_length: int | None = None
    long_text: LongText = "truncate"
    dtype: Dtype = "auto"
    device: str = "auto"
    threads: int = 0
    threshold: float = THRESHOLD
    seed: int = 0
    seeds: int = SEEDS
    robustness_rows: int = ROBUSTNESS_ROWS
    resamples: int = RESAMPLES
    skip: tuple[str, ...] = ()


def loaded(store: ModelStore, pin: ModelPin, how: Settings) -> LoadedModel:
    """Return the model as a job would load it.

    Raises:
        ModelIncompatible, ModelNotReady, ConfigurationError: As `load_model`.
    """
    return load_model(
        store,
        pin,
        max_length=how.max_length,
        dtype=how.dtype,
        device=how.device,
        threads=how.threads,
    )


def scored_rows(model: LoadedModel, data: LabelledTexts, how: Settings) -> EvaluatedRows:
    """Return what a model says of the rows.

    Raises:
        UsageError: A label is none of the model's, or nothing can be told from these rows.
    """
    asked = targets(data, model.labels)
    _require_variety(data, asked, model.labels)
    rows = _evaluate(model, data.texts, asked, how)
    if not rows.scored.any():
        code = next(iter(rows.errors.values()))
        raise UsageError(f"{data.place(0)}: no row of the data could be scored ({code})")
    return rows


def evaluation_of(
    model: LoadedModel, store: ModelStore, data: LabelledTexts, how: Settings, tell: Tell
) -> tuple[Record, EvaluatedRows]:
    """Return the record of an evaluation, ready for JSON, and the rows it is made of.

    Raises:
        UsageError: As `scored_rows`.
    """
    texts = data.texts
    tell(f"{model.pin.ref}: scoring {len(texts):,} rows")
    rows = scored_rows(model, data, how)
    mixed = np.random.default_rng(how.seed).permutation(len(texts))
    found: Record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bulkscore": __version__,
        "libraries": model.libraries,
        "model": model_facts(model),
        "data": data_facts(data, rows),
        "settings": asdict(how),
    }
    quality = quality_of(rows, seed=how.seed, resamples=how.resamples)
    found["quality"] = {
        **quality.metrics,
        "labels": quality.labels,
        "confusion": quality.confusion,
    }
    found["intervals"] = quality.intervals
    found["calibration"] = calibration_of(rows, seed=how.seed)
    found["curves"] = curves_of(rows)
    found["mistakes"] = mistakes(data, rows)
    if "slices" not in how.skip:
        found["slices"] = slices_of(rows, texts, seed=how.seed, resamples=how.resamples)
    if "efficiency" not in how.skip:
        tell(f"{model.pin.ref}: measuring speed and memory")
        usable = [texts[i] for i in mixed if rows.scored[i]]
        folder = store.fetch(model.pin)
        found["efficiency"] = efficiency_of(model, folder, usable, long_text=how.long_text)
        found["activations"] = activations_of(folder, model.pin, model.tokenizer, usable)
    if "robustness" not in how.skip:
        found["robustness"] = robustness_of(
            rows,
            texts,
            lambda spoilt, places: _evaluate(model, spoilt, rows.targets[places], how),
            rows=np.sort(mixed[: how.robustness_rows]),
            seeds=[how.seed + i for i in range(how.seeds)],
            resamples=how.resamples,
            tell=lambda name: tell(f"{model.pin.ref}: robustness against {name}"),
        )
    record: Record = plain(found)
    return record, rows


def plain(value: Any) -> Any:
    """Return what JSON knows: dataclasses as objects, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value


def _evaluate(
    model: LoadedModel, texts: Sequence[str], asked: NDArray[Any], how: Settings
) -> EvaluatedRows:
    return evaluate_rows(model, texts, asked, long_text=how.long_text, threshold=how.threshold)


def _require_variety(data: LabelledTexts, asked: NDArray[Any], labels: Sequence[str]) -> None:
    if data.problem == "regression" and len(np.unique(asked)) < 2:
        raise UsageError(f"{data.place(0)}: every row has the value {asked[0]:g}, as this one")
    if data.problem == "single-label" and len(np.unique(asked)) < 2:
        raise UsageError(
            f"{data.place(0)}: every row has the label {labels[asked[0]]!r}, as this one; nothing "
            "but its recall could be told"
        )
    if data.problem == "multi-label" and not asked.any():
        raise UsageError(f"{data.place(0)}: no row has a label, as this one")
