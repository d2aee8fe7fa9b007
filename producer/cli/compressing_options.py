"""How `compress` trains what it has cut, and students, as options.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from producer.cli.model_options import FITTING, BatchSize, TrainingLength

STUDENT = "Distilling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a smaller model is trained."""

    train_data: Annotated[
        list[str] | None,
        typer.Option(
            "--train-data",
            metavar="URI",
            help="Labelled texts to score importance by and to train on, such as those the model "
            "was trained on; --data is what it is measured on.",
            show_default=False,
            rich_help_panel=FITTING,
        ),
    ] = None
    epochs: Annotated[
        float,
        typer.Option(
            "--epochs",
            min=0,
            metavar="N",
            help="Passes over the training data after each cut; 0: none.",
            rich_help_panel=FITTING,
        ),
    ] = 1.0
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0,
            metavar="X",
            help="Largest step.",
            show_default="1e-4",
            rich_help_panel=FITTING,
        ),
    ] = None
    batch_size: BatchSize = 32
    max_length: TrainingLength = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """What a student is, and what it learns."""

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
    ] = None
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
    ] = None
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
    ] = 0.5
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0.1,
            metavar="T",
            help="Evens out what the teacher says.",
            rich_help_panel=STUDENT,
        ),
    ] = 2.0
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
    ] = None
