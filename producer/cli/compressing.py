"""`compress`: a smaller and faster model that is hardly worse, made by the worker side."""

from typing import Annotated, Literal

import typer

from producer.cli.labelling import Data, Header, LabelColumn, Separator, TextColumn
from producer.cli.options import Json
from producer.cli.running import Device
from producer.cli.tasks import Local, Queue, Wait, carry_out

PANEL = "Models"
TRAINING, STUDENT = "Pruning and training", "Distilling"


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("compress", rich_help_panel=PANEL)(compress)


def compress(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="Folder or s3:// prefix, NAME@VERSION or NAME@ALIAS."),
    ],
    method: Annotated[
        Literal["bf16", "int8", "prune-layers", "prune-ffn", "prune-heads", "distil"],
        typer.Option(
            "--method",
            help="Weights in 16 or 8 bits; the least important layers, feed-forward neurons or "
            "attention heads cut out; or a student of fewer layers.",
            show_default=False,
        ),
    ],
    data: Data,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="PATH", help="Folder to write the model to, or NAME to register."
        ),
    ],
    train_data: Annotated[
        list[str] | None,
        typer.Option(
            "--train-data",
            metavar="URI",
            help="Labelled texts to score importance by and to train on, such as those the model "
            "was trained on; --data is what it is measured on.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Of evaluate, such as accuracy or macro_f1.",
            show_default="accuracy; of several labels jaccard, of a regression mae",
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option("--max-drop", min=0, metavar="X", help="Most by which it may be worse."),
    ] = 0.01,
    epochs: Annotated[
        float,
        typer.Option(
            "--epochs",
            min=0,
            metavar="N",
            help="Passes over the training data after each cut; 0: none.",
            rich_help_panel=TRAINING,
        ),
    ] = 1.0,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0,
            metavar="X",
            help="Largest step.",
            show_default="1e-4",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            min=1,
            metavar="ROWS",
            help="Rows of a forward pass.",
            rich_help_panel=TRAINING,
        ),
    ] = 32,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Cut texts after so many in training.",
            show_default="128, or what the model reads",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="REF",
            help="A base as train takes it, such as an encoder or bilstm; left out, some layers "
            "of the model.",
            show_default=False,
            rich_help_panel=STUDENT,
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers",
            min=1,
            metavar="N",
            help="Of the student.",
            show_default="half of the teacher's",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    teacher_share: Annotated[
        float,
        typer.Option(
            "--teacher-share",
            min=0,
            max=1,
            metavar="SHARE",
            help="Of the loss; the rest is that of the labels.",
            rich_help_panel=STUDENT,
        ),
    ] = 0.5,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0.1,
            metavar="T",
            help="Evens out what the teacher says.",
            rich_help_panel=STUDENT,
        ),
    ] = 2.0,
    teacher_scores: Annotated[
        str | None,
        typer.Option(
            "--teacher-scores",
            metavar="OUTPUT",
            help="Result of a job of the model over the training data with --all-scores; left "
            "out, the model scores them here.",
            show_default=False,
            rich_help_panel=STUDENT,
        ),
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    label_separator: Separator = "|",
    header: Header = "auto",
    device: Device = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of all that is drawn.")
    ] = 0,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, metavar="N", help="Draws of each bootstrap.")
    ] = 1_000,
    local: Local = False,
    queue: Queue = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Make a model smaller, as far as a metric on labelled texts allows.

    Finds the smallest model whose metric is at most --max-drop worse, and prints size, speed,
    memory and quality before and after. Exit code 6, and nothing is written, when there is none.
    Needs the train extra.

    Example: bulkscore compress sentiment@prod --method int8 --data test.csv --max-drop 0.01 \
--out sentiment
    """
    from producer.processes import options

    given = options(
        method=method,
        data=data,
        out=out,
        train_data=train_data,
        metric=metric,
        max_drop=max_drop,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
        student=student,
        layers=layers,
        teacher_share=teacher_share,
        temperature=temperature,
        teacher_scores=teacher_scores,
        text_column=text_column,
        label_column=label_column,
        label_separator=label_separator,
        header=header,
        device=device,
        seed=seed,
        resamples=resamples,
        json=as_json,
    )
    needs = ("torch", "transformers", "accelerate", "sklearn")
    arguments = [*given, "--", ref]
    carry_out("compress", arguments, needs=needs, local=local, queue=queue, wait=wait)
