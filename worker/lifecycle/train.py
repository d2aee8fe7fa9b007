"""Fine-tune a classifier: `python -m worker.lifecycle.train --model ENCODER --data FILE …`.

Plain fine-tuning with the Trainer of transformers, in a process of its own. What is written is
loaded and evaluated by the scoring engine before it appears under its name, so that a model that
was trained is a model that scores. Metrics go to stdout as JSON, progress to stderr.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from schemas.errors import BulkError, UsageError
from schemas.labelled import LabelledTexts, read_labelled
from schemas.model_files import OTHER_FILES, WEIGHTS, pin_model
from schemas.storage import Storage
from worker.lifecycle.labelled import label_names, targets

LEARNING_RATE = 1e-4  # customary for small pretrained encoders
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
PROGRESS_LINES = 20  # in one training
METRICS = "metrics.json"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to train on and how; `base` is a local folder of an encoder or classifier."""

    base: Path
    epochs: float
    learning_rate: float = LEARNING_RATE
    batch_rows: int = 32
    max_length: int = 128
    seed: int = 0
    labels: tuple[str, ...] | None = None
    freeze_encoder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How the training went; `accuracy` and `macro_f1` are of the test data, if any."""

    train_rows: int
    train_seconds: float
    train_loss: float
    labels: tuple[str, ...]
    test_rows: int = 0
    accuracy: float | None = None
    macro_f1: float | None = None


def train(recipe: Recipe, data: Path, out: Path, test_data: Path | None = None) -> Metrics:
    """Train on the labelled texts in `data` and write the classifier to the folder `out`.

    Raises:
        UsageError: `out` exists and is not empty, or the labels make no sense.
        ModelIncompatible: The base is no encoder that can carry a classification head.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already: give another --out")
    rows = read_labelled(Storage(), [str(data)])
    names = label_names(rows.single_labels, recipe.labels)
    test = read_labelled(Storage(), [str(test_data)]) if test_data else None
    _warn(recipe, rows, test)
    wanted = targets(rows, names).tolist()
    test_wanted = targets(test, names).tolist() if test else []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        finished = Path(scratch) / "model"
        metrics = _fit(recipe, rows, wanted, names, Path(scratch), finished)
        if test:
            metrics = _evaluated(metrics, finished, test, test_wanted)
        (finished / METRICS).write_text(json.dumps(asdict(metrics), indent=2) + "\n")
        finished.rename(out)
    return metrics


def _warn(recipe: Recipe, rows: LabelledTexts, test: LabelledTexts | None) -> None:
    """Say on stderr what of the data would spoil the training."""
    from worker.lifecycle.profile import TokensOf, profile_of

    tokens = TokensOf(model=str(recipe.base), max_length=recipe.max_length)
    for warning in profile_of(Storage(), rows, test, tokens).warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def _fit(
    recipe: Recipe,
    rows: LabelledTexts,
    wanted: Sequence[int],
    names: tuple[str, ...],
    scratch: Path,
    finished: Path,
) -> Metrics:
    from worker.lifecycle.fitting import Fitting, fit, load_base

    model, tokenizer = load_base(recipe.base, names, seed=recipe.seed, freeze=recipe.freeze_encoder)
    started = time.monotonic()
    loss = fit(
        model,
        tokenizer,
        rows.texts,
        wanted,
        Fitting(
            epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            warmup_share=WARMUP_SHARE,
            weight_decay=WEIGHT_DECAY,
            batch_rows=recipe.batch_rows,
            max_length=recipe.max_length,
            seed=recipe.seed,
            progress_lines=PROGRESS_LINES,
        ),
        scratch / "trainer",
    )
    seconds = round(time.monotonic() - started, 1)
    _save(model, tokenizer, scratch / "saved", finished)
    return Metrics(
        train_rows=len(wanted), train_seconds=seconds, train_loss=round(loss, 4), labels=names
    )


def _save(model: Any, tokenizer: Any, saved: Path, finished: Path) -> None:
    """Write the model and move only the files that make a model version to `finished`."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    model.save_pretrained(saved, max_shard_size="1TB")
    tokenizer.save_pretrained(saved)
    finished.mkdir()
    for path in saved.iterdir():
        if path.name in OTHER_FILES or path.name == WEIGHTS:
            path.chmod(0o644)  # safetensors writes for the owner alone; workers read it too
            path.rename(finished / path.name)


def _evaluated(
    metrics: Metrics, folder: Path, test: LabelledTexts, targets: Sequence[int]
) -> Metrics:
    """Return `metrics` with those of the test data, scored as a job would score it."""
    from dataclasses import replace

    from sklearn.metrics import accuracy_score, f1_score

    from worker.engine.loading import load_engine
    from worker.tokenizer import Tokenizer

    pin = pin_model(Storage(), str(folder))
    encoded = Tokenizer(folder, pin.max_length).encode(test.texts)
    usable = np.flatnonzero(~encoded.failed)
    found = np.full(len(targets), -1)  # a text that cannot be scored counts as wrong
    found[usable] = load_engine(folder, pin).forward([encoded.ids[i] for i in usable]).argmax(1)
    macro_f1 = f1_score(
        targets, found, labels=range(len(metrics.labels)), average="macro", zero_division=0
    )
    return replace(
        metrics,
        test_rows=len(targets),
        accuracy=round(float(accuracy_score(targets, found)), 4),
        macro_f1=round(float(macro_f1), 4),
    )


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an error of ours into its message on stderr and its exit code."""
    try:
        yield
    except BulkError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(int(error.exit_code)) from None


@app.command()
def command(
    model: Annotated[Path, typer.Option(help="Local folder of an encoder or classifier.")],
    data: Annotated[Path, typer.Option(help="Labelled texts: .csv, .parquet or .jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder to write to, or a name to register.")],
    epochs: Annotated[float, typer.Option(min=0.01)],
    test_data: Annotated[Path | None, typer.Option(help="Labelled texts to evaluate on.")] = None,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = LEARNING_RATE,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens at which texts are cut.")] = 128,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    labels: Annotated[str | None, typer.Option(help="Names in order, such as bad,good.")] = None,
    freeze_encoder: Annotated[bool, typer.Option(help="Train the head alone.")] = False,
) -> None:
    """Fine-tune a classifier and print its metrics as JSON.

    Example: python -m worker.lifecycle.train --model ./minilm --data train.csv
    --test-data test.csv --labels negative,positive --epochs 2 --out ./sentiment
    """
    recipe = Recipe(
        base=model,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_rows=batch_size,
        max_length=max_length,
        seed=seed,
        labels=tuple(labels.split(",")) if labels else None,
        freeze_encoder=freeze_encoder,
    )
    from worker.lifecycle.register import destination

    with reporting_errors():
        with destination(out) as folder:
            metrics = train(recipe, data, folder, test_data)
        print(json.dumps(asdict(metrics)))


if __name__ == "__main__":
    app()
