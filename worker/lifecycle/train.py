"""Fine-tune a classifier: `python -m worker.lifecycle.train --model BASE --data FILE … --out …`.

In a process of its own. What is written is loaded and evaluated by the scoring engine before it
appears under its name, so that a model that was trained is a model that scores. Metrics go to
stdout as JSON, progress to stderr.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from schemas.errors import BulkError, ExitCode
from worker.lifecycle import reading
from worker.lifecycle.train_recipe import (
    ClassWeights,
    Device,
    OptimizerName,
    Precision,
    Recipe,
    ScheduleName,
    Sources,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Share = Annotated[float, typer.Option(min=0, max=1)]


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an error of ours into its message on stderr and its exit code."""
    try:
        yield
    except BulkError as error:
        print(f"error [{error.code}]: {error}", file=sys.stderr)
        raise typer.Exit(int(error.exit_code)) from None


@app.command()
def command(
    model: Annotated[str, typer.Option(help="Folder, s3:// prefix or NAME@VERSION.")],
    data: reading.Data,
    out: Annotated[str, typer.Option(help="Folder to write to, or a name to register.")],
    validation_data: reading.ValidationData = None,
    test_data: reading.TestData = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    labels: Annotated[str | None, typer.Option(help="Names in order, such as bad,good.")] = None,
    new_head: Annotated[bool, typer.Option("--new-head")] = False,
    learning_rate: Annotated[float | None, typer.Option(min=0.0)] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    accumulate: Annotated[int, typer.Option(min=1)] = 1,
    max_length: Annotated[int | None, typer.Option(min=8)] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    freeze_encoder: Annotated[bool, typer.Option("--freeze-encoder")] = False,
    freeze_layers: Annotated[int, typer.Option(min=0)] = 0,
    optimizer: Annotated[OptimizerName, typer.Option()] = "adamw",
    schedule: Annotated[ScheduleName, typer.Option()] = "linear",
    warmup: Share = 0.1,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.01,
    dropout: Annotated[float | None, typer.Option(min=0, max=0.9)] = None,
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.9)] = 0.0,
    clip: Annotated[float, typer.Option(min=0)] = 1.0,
    class_weights: Annotated[ClassWeights, typer.Option()] = "none",
    patience: Annotated[int | None, typer.Option(min=1)] = None,
    metric: Annotated[str | None, typer.Option()] = None,
    validations: Annotated[int, typer.Option(min=1)] = 1,
    validation_share: Annotated[float, typer.Option(min=0.01, max=0.5)] = 0.1,
    search: Annotated[int, typer.Option(min=0)] = 0,
    dtype: Annotated[Precision, typer.Option()] = "auto",
    device: Annotated[Device, typer.Option()] = "auto",
    checkpoint_seconds: Annotated[float, typer.Option(min=0)] = 120.0,
    text_column: reading.TextColumn = reading.TEXT_COLUMN,
    label_column: reading.LabelColumn = reading.LABEL_COLUMN,
    problem: reading.ProblemOption = "single-label",
    label_separator: reading.Separator = reading.SEPARATOR,
    header: reading.Header = "auto",
) -> None:
    """Fine-tune a classifier and print its metrics as JSON.

    Example: python -m worker.lifecycle.train --model ./minilm --data train.csv
    --test-data test.csv --labels negative,positive --epochs 2 --out ./sentiment
    """
    recipe = Recipe(
        base=model,
        epochs=epochs,
        labels=tuple(name.strip() for name in labels.split(",")) if labels else None,
        new_head=new_head,
        learning_rate=learning_rate,
        batch_rows=batch_size,
        accumulate=accumulate,
        max_length=max_length,
        seed=seed,
        freeze_encoder=freeze_encoder,
        freeze_layers=freeze_layers,
        optimizer=optimizer,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        dropout=dropout,
        label_smoothing=label_smoothing,
        clip=clip,
        class_weights=class_weights,
        patience=patience,
        metric=metric,
        validations=validations,
        validation_share=validation_share,
        search=search,
        precision=dtype,
        device=device,
    )
    with reporting_errors():
        from worker.lifecycle.train_out import choose_out
        from worker.lifecycle.train_run import train

        sources = Sources(
            data=tuple(data),
            validation=tuple(validation_data or ()),
            test=tuple(test_data or ()),
            columns=reading.columns_of(text_column, label_column, problem, label_separator, header),
        )
        place = choose_out(out)
        try:
            metrics = train(recipe, sources, place, checkpoint_seconds=checkpoint_seconds)
        except KeyboardInterrupt:
            print(
                f"interrupted: the same command goes on from {place.work_folder}",
                file=sys.stderr,
            )
            raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
        print(json.dumps(metrics.summary(), ensure_ascii=False))


if __name__ == "__main__":
    app()
