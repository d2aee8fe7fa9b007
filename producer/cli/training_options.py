"""How `train` fits a classifier, as options in two groups.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from producer.cli.model_options import FITTING, BatchSize, TrainingLength

MODEL = "Model and labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What training starts from."""

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
    ]
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
    ] = None
    new_head: Annotated[
        bool,
        typer.Option(
            "--new-head",
            help="Start the head of a classifier anew, for other labels.",
            rich_help_panel=MODEL,
        ),
    ] = False
    max_length: TrainingLength = None
    freeze_encoder: Annotated[
        bool,
        typer.Option("--freeze-encoder", help="Train the head alone.", rich_help_panel=MODEL),
    ] = False
    freeze_layers: Annotated[
        int,
        typer.Option(
            "--freeze-layers",
            min=0,
            metavar="N",
            help="Keep embeddings and the N lowest layers as they are.",
            rich_help_panel=MODEL,
        ),
    ] = 0
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
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How weights are moved."""

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
    ] = None
    batch_size: BatchSize = 32
    accumulate: Annotated[
        int,
        typer.Option(
            "--accumulate",
            min=1,
            metavar="N",
            help="Forward passes for one step: as with N times the batch, in less memory.",
            rich_help_panel=FITTING,
        ),
    ] = 1
    optimizer: Annotated[
        Literal["adamw", "adam", "adagrad", "sgd"],
        typer.Option("--optimizer", help="How weights are moved.", rich_help_panel=FITTING),
    ] = "adamw"
    schedule: Annotated[
        Literal["linear", "cosine", "polynomial", "inverse_sqrt", "constant"],
        typer.Option("--schedule", help="How the step shrinks.", rich_help_panel=FITTING),
    ] = "linear"
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
    ] = 0.1
    weight_decay: Annotated[
        float,
        typer.Option(
            "--weight-decay",
            min=0,
            metavar="X",
            help="Of matrices; biases and norms do not decay. L2 but for adamw.",
            rich_help_panel=FITTING,
        ),
    ] = 0.01
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
    ] = 0.0
    clip: Annotated[
        float,
        typer.Option(
            "--clip",
            min=0,
            metavar="NORM",
            help="Cut gradients to this norm; 0: never.",
            rich_help_panel=FITTING,
        ),
    ] = 1.0
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(
            "--class-weights",
            help="balanced: rows of rare labels count more, every label the same.",
            rich_help_panel=FITTING,
        ),
    ] = "none"
    dtype: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(
            "--dtype",
            help="What to compute in; auto: bf16 on a GPU that has it. Weights stay fp32.",
            rich_help_panel=FITTING,
        ),
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option("--device", help="Where to compute.", rich_help_panel=FITTING),
    ] = "auto"
