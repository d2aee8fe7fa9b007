"""`train`: fine-tune a classifier.

Becomes `worker.lifecycle.train`, as the commands in `modelling` do.
"""

from typing import Annotated, Literal

import typer

from producer.cli.labelling import Data, Header, LabelColumn, Problem, Separator, TextColumn
from producer.cli.tasks import Local, Queue, Wait, carry_out

MODEL, FITTING, CHOOSING = "Model and labels", "Fitting", "Choosing weights"


def train(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="REF",
            help="Encoder or classifier to start from: a folder, an s3:// prefix or NAME@VERSION; "
            "tiny-bert or bilstm for a small one with random weights and a vocabulary of your "
            "texts.",
        ),
    ],
    data: Data,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="PATH", help="Folder to write the classifier to, or NAME to register."
        ),
    ],
    validation_data: Annotated[
        list[str] | None,
        typer.Option(
            "--validation-data",
            metavar="URI",
            help="Labelled texts to choose the weights by.",
            show_default=False,
        ),
    ] = None,
    test_data: Annotated[
        list[str] | None,
        typer.Option(
            "--test-data", metavar="URI", help="Labelled texts to evaluate on.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.01, metavar="N", help="Passes over the data.")
    ] = 3.0,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="NAMES",
            help="Names in order, such as bad,good; those of the data, or of the classifier to "
            "start from, when left out.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    new_head: Annotated[
        bool,
        typer.Option(
            "--new-head",
            help="Start the head of a classifier anew, for other labels.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0,
            metavar="X",
            help="Largest step.",
            show_default="by optimizer: adamw and adam 1e-4, adagrad 1e-3, sgd 1e-2",
            rich_help_panel=FITTING,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            min=1,
            metavar="ROWS",
            help="Rows of a forward pass.",
            rich_help_panel=FITTING,
        ),
    ] = 32,
    accumulate: Annotated[
        int,
        typer.Option(
            "--accumulate",
            min=1,
            metavar="N",
            help="Forward passes for one step: as with N times the batch, in less memory.",
            rich_help_panel=FITTING,
        ),
    ] = 1,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Cut texts after so many.",
            show_default="128, or what the model reads",
            rich_help_panel=MODEL,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="The same seed trains the same model.")
    ] = 0,
    freeze_encoder: Annotated[
        bool,
        typer.Option("--freeze-encoder", help="Train the head alone.", rich_help_panel=MODEL),
    ] = False,
    freeze_layers: Annotated[
        int,
        typer.Option(
            "--freeze-layers",
            min=0,
            metavar="N",
            help="Keep embeddings and the N lowest layers as they are.",
            rich_help_panel=MODEL,
        ),
    ] = 0,
    optimizer: Annotated[
        Literal["adamw", "adam", "adagrad", "sgd"],
        typer.Option("--optimizer", help="How weights are moved.", rich_help_panel=FITTING),
    ] = "adamw",
    schedule: Annotated[
        Literal["linear", "cosine", "polynomial", "inverse_sqrt", "constant"],
        typer.Option("--schedule", help="How the step shrinks.", rich_help_panel=FITTING),
    ] = "linear",
    warmup: Annotated[
        float,
        typer.Option(
            "--warmup",
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of the steps in which the step grows.",
            rich_help_panel=FITTING,
        ),
    ] = 0.1,
    weight_decay: Annotated[
        float,
        typer.Option(
            "--weight-decay",
            min=0,
            metavar="X",
            help="Of matrices; biases and norms do not decay. L2 but for adamw.",
            rich_help_panel=FITTING,
        ),
    ] = 0.01,
    dropout: Annotated[
        float | None,
        typer.Option(
            "--dropout",
            min=0,
            max=0.9,
            metavar="SHARE",
            help="In all layers.",
            show_default="as the model has it",
            rich_help_panel=MODEL,
        ),
    ] = None,
    label_smoothing: Annotated[
        float,
        typer.Option(
            "--label-smoothing",
            min=0,
            max=0.9,
            metavar="SHARE",
            help="Share of a label that is spread over all.",
            rich_help_panel=FITTING,
        ),
    ] = 0.0,
    clip: Annotated[
        float,
        typer.Option(
            "--clip",
            min=0,
            metavar="NORM",
            help="Cut gradients to this norm; 0: never.",
            rich_help_panel=FITTING,
        ),
    ] = 1.0,
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(
            "--class-weights",
            help="balanced: rows of rare labels count more, every label the same.",
            rich_help_panel=FITTING,
        ),
    ] = "none",
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=1,
            metavar="N",
            help="Stop after N validations without gain.",
            show_default="never",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Of validation, by which weights are chosen: macro_f1, accuracy, micro_f1, "
            "exact_match, rmse, mae, r2, spearman or loss.",
            show_default="macro_f1; of a regression rmse",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    validations: Annotated[
        int,
        typer.Option(
            "--validations", min=1, metavar="N", help="In an epoch.", rich_help_panel=CHOOSING
        ),
    ] = 1,
    validation_share: Annotated[
        float,
        typer.Option(
            "--validation-share",
            min=0.01,
            max=0.5,
            metavar="SHARE",
            help="Of the data, put aside by --seed for --patience and --search where there are no "
            "validation data.",
            rich_help_panel=CHOOSING,
        ),
    ] = 0.1,
    search: Annotated[
        int,
        typer.Option(
            "--search",
            min=0,
            metavar="N",
            help="Try N batch sizes and learning rates first, and train with the best.",
            rich_help_panel=CHOOSING,
        ),
    ] = 0,
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(
            "--dtype",
            help="What to compute in; auto: bf16 on a GPU that has it. Weights stay fp32.",
            rich_help_panel=FITTING,
        ),
    ] = "auto",
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option("--device", help="Where to compute.", rich_help_panel=FITTING),
    ] = "auto",
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            "--checkpoint-seconds",
            min=0,
            metavar="N",
            help="Time between two checkpoints, besides those at each validation.",
        ),
    ] = 120.0,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    problem: Problem = "single-label",
    label_separator: Separator = "|",
    header: Header = "auto",
    local: Local = False,
    queue: Queue = False,
    wait: Wait = False,
) -> None:
    """Fine-tune a classifier on labelled texts and print its metrics as JSON.

    With validation data the best weights are kept, else the last ones. Killed, it goes on from
    its last checkpoint when the same command is given again. Needs the train extra.

    Example: bulkscore train --model minilm --data train.csv --test-data test.csv --epochs 2 \
--out models/sentiment
    """
    from producer.processes import options

    given = options(
        model=model,
        data=data,
        out=out,
        validation_data=validation_data,
        test_data=test_data,
        epochs=epochs,
        labels=labels,
        new_head=new_head,
        learning_rate=learning_rate,
        batch_size=batch_size,
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
        dtype=dtype,
        device=device,
        checkpoint_seconds=checkpoint_seconds,
        text_column=text_column,
        label_column=label_column,
        problem=problem,
        label_separator=label_separator,
        header=header,
    )
    needs = ["torch", "transformers", "accelerate", "sklearn", "matplotlib"]
    needs += ["optuna"] if search else []
    carry_out("train", given, needs=needs, local=local, queue=queue, wait=wait)
