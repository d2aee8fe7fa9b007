"""A small classifier from nothing: `python -m worker.lifecycle.tiny --data FILE --out FOLDER`.

For demonstrations and tests, where no pretrained encoder is at hand: it learns plain patterns of
words in a minute or so on a CPU, not language.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from worker.lifecycle.train import reporting_errors
from worker.lifecycle.train_out import FolderOut
from worker.lifecycle.train_recipe import Recipe, Sources
from worker.lifecycle.train_report import Metrics
from worker.lifecycle.train_run import train

EPOCHS = 3.0
# Random weights need steps ten times those that suit pretrained ones.
LEARNING_RATE = 1e-3

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def train_tiny(
    data: Path,
    out: Path,
    test_data: Path | None = None,
    *,
    epochs: float = EPOCHS,
    labels: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Metrics:
    """Make an encoder of the texts in `data`, train it, and write the classifier to `out`.

    Raises:
        UsageError: As `train`.
    """
    recipe = Recipe(
        base="tiny-bert",
        epochs=epochs,
        learning_rate=LEARNING_RATE,
        labels=labels,
        seed=seed,
    )
    test = (str(test_data),) if test_data else ()
    return train(recipe, Sources(data=(str(data),), test=test), FolderOut(out))


@app.command()
def command(
    data: Annotated[Path, typer.Option(help="Labelled texts: .csv, .parquet or .jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder to write the classifier to.")],
    test_data: Annotated[Path | None, typer.Option(help="Labelled texts to evaluate on.")] = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = EPOCHS,
    labels: Annotated[str | None, typer.Option(help="Names in order, such as bad,good.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train a small classifier from nothing and print its metrics as JSON.

    Example: python -m worker.lifecycle.tiny --data labelled.parquet --out ./tiny
    """
    import torch

    # So small a model gains little from a second thread, and where the cores are busy with other
    # work the threads wait for each other: ten times as long was measured.
    torch.set_num_threads(1)
    with reporting_errors():
        names = tuple(labels.split(",")) if labels else None
        metrics = train_tiny(data, out, test_data, epochs=epochs, labels=names, seed=seed)
        print(json.dumps(metrics.summary()))


if __name__ == "__main__":
    app()
