"""What is written down of a training: metrics for programs, a model card and curves for people."""

import json
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from schemas import __version__
from schemas.labelled import Problem
from worker.lifecycle.model_card import model_card
from worker.lifecycle.train_curves import draw_curves
from worker.lifecycle.train_out import CARD, CURVES

METRICS = "metrics.json"
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "scikit-learn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How a training went; the metrics of the test data are at the top of `document`.

    Attributes:
        problem: What a label is.
        labels: Names in the order of the logits.
        train_seconds: Of the steps, validation included, breaks left out.
        steps: Steps that were done.
        best_step: The step whose weights were kept; None for the last one.
        validation: Metrics of the validation data at that step.
        test: Metrics of the test data, scored as a job would score them.
        intervals: Of each of these, 95 %.
        curve: What was logged on the way.
    """

    run: str
    problem: Problem
    labels: tuple[str, ...]
    train_rows: int
    validation_rows: int
    test_rows: int
    train_seconds: float
    train_loss: float
    steps: int
    best_step: int | None
    base: str
    device: str
    precision: str
    recipe: dict[str, Any]
    data: dict[str, str]
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    search: tuple[dict[str, Any], ...] = ()
    curve: tuple[dict[str, Any], ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Of the test data, if there are any and they have one label a text."""
        return self.test.get("accuracy")

    def document(self) -> dict[str, Any]:
        """Return the metrics as a JSON object; those of the test data stand at its top."""
        known = asdict(self)
        return self.summary() | {name: known[name] for name in known if name != "test"}

    def summary(self) -> dict[str, Any]:
        """Return what a command prints: the numbers, without the way to them."""
        named = {name: getattr(self, name) for name in _SUMMARY}
        return named | self.test | {"intervals": self.intervals, "validation": self.validation}


_SUMMARY = (
    *("problem", "labels", "train_rows", "validation_rows", "test_rows", "train_seconds"),
    *("train_loss", "steps", "best_step", "base", "device", "precision"),
)


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that decide the numbers."""
    return {"bulkscore": __version__} | {name: metadata.version(name) for name in LIBRARIES}


def write_report(metrics: Metrics, folder: Path) -> None:
    """Write metrics, model card and curves beside a model."""
    document = json.dumps(metrics.document(), indent=2, ensure_ascii=False)
    (folder / METRICS).write_text(document + "\n", encoding="utf-8")
    (folder / CURVES).write_bytes(draw_curves(metrics.curve))
    (folder / CARD).write_text(model_card(metrics.document(), CURVES), encoding="utf-8")


def read_metrics(folder: Path) -> Metrics:
    """Return the metrics that `write_report` wrote."""
    found = json.loads((folder / METRICS).read_bytes())
    known = {f.name: found[f.name] for f in fields(Metrics) if f.name != "test"}
    for name in ("labels", "search", "curve"):
        known[name] = tuple(known[name])
    known["intervals"] = {name: (low, high) for name, (low, high) in found["intervals"].items()}
    return Metrics(**known, test={name: found[name] for name in found["intervals"]})
