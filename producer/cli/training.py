"""`train`: fine-tune a classifier.

Becomes `worker.lifecycle.train`, as the commands in `modelling` do.
"""

from typing import Annotated

import typer

from producer.cli.choosing_options import Choosing
from producer.cli.labelled_options import ProblemData, TestData
from producer.cli.model_options import ModelOut
from producer.cli.option_groups import as_arguments
from producer.cli.training_options import Fitting, Start
from producer.cli.where import Where


def train(
    start: Start,
    texts: ProblemData,
    out: ModelOut,
    choosing: Choosing,
    fitting: Fitting,
    where: Where,
    test_data: TestData = None,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.01, metavar="N", help="Passes over the data.")
    ] = 3.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="The same seed trains the same model.")
    ] = 0,
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            "--checkpoint-seconds",
            min=0,
            metavar="N",
            help="Time between two checkpoints, besides those at each validation.",
        ),
    ] = 120.0,
) -> None:
    """Fine-tune a classifier on labelled texts and print its metrics as JSON.

    With validation data the best weights are kept, else the last ones. Killed, it goes on from
    its last checkpoint when the same command is given again. Needs the train extra.

    Example: bulkscore train --model minilm --data train.csv --test-data test.csv --epochs 2 \
--out models/sentiment
    """
    given = as_arguments(
        start,
        texts,
        choosing,
        fitting,
        out=out,
        test_data=test_data,
        epochs=epochs,
        seed=seed,
        checkpoint_seconds=checkpoint_seconds,
    )
    needs = ["torch", "transformers", "accelerate", "sklearn", "matplotlib"]
    needs += ["optuna"] if choosing.search else []
    where.carry_out("train", given, needs=needs)
