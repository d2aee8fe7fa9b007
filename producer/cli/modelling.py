"""`score` and `train`: what the worker side does with a model, without a broker.

The options are those of `worker.score` and `worker.lifecycle.train`, which this side may not
import: it checks that the libraries are there and becomes the module. A test holds both together.
"""

from typing import Annotated, Literal

import typer

from producer.cli.options import Json
from producer.cli.running import Device

PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("score", rich_help_panel=PANEL)(score)
    app.command("train", rich_help_panel=PANEL)(train)


def score(
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="REF", help="Folder or s3:// prefix of a model.")
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]…", help="Left out: the lines of standard input."),
    ] = None,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Print the score of every label.")
    ] = False,
    device: Device = None,
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        typer.Option("--dtype", help="Number format of the model; int8 is for CPUs."),
    ] = "auto",
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Cut texts after so many tokens; the model's own limit when left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a few texts with a model, for a first look; needs no broker.

    Example: bulkscore score "I would buy it again" --model models/sentiment
    """
    from producer.local import require_worker
    from producer.processes import become, options

    require_worker()
    given = options(
        model=model,
        dtype=dtype,
        device=device,
        max_length=max_length,
        all_scores=all_scores,
        json=as_json,
    )
    become("worker.score", [*given, "--", *(texts or [])])


def train(
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="PATH", help="Folder of an encoder to start from."),
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE", help="Labelled texts: .csv, .parquet or .jsonl."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="PATH", help="Folder to write the classifier to, or NAME to register."
        ),
    ],
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.01, metavar="N", help="Passes over the data.")
    ],
    test_data: Annotated[
        str | None,
        typer.Option(
            "--test-data",
            metavar="FILE",
            help="Labelled texts to evaluate on.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="NAMES",
            help="Names in order, such as bad,good; those of the data when left out.",
            show_default=False,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", min=0, metavar="X", help="Largest step.", show_default="1e-4"
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, metavar="ROWS", help="Rows per step.")
    ] = 32,
    max_length: Annotated[
        int, typer.Option("--max-length", min=8, metavar="TOKENS", help="Cut texts after so many.")
    ] = 128,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="The same seed trains the same model.")
    ] = 0,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Train the head alone.")
    ] = False,
) -> None:
    """Fine-tune a classifier on labelled texts and print its metrics as JSON.

    A .csv has no header and two columns, text and label; the other kinds have columns of these
    names.

    Example: bulkscore train --model minilm --data train.csv --test-data test.csv --epochs 2 \
--out models/sentiment
    """
    from producer.processes import become, options, require_installed

    for module in ("torch", "transformers", "accelerate", "sklearn"):
        require_installed(module, "train")
    given = options(
        model=model,
        data=data,
        out=out,
        epochs=epochs,
        test_data=test_data,
        labels=labels,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
        seed=seed,
        freeze_encoder=freeze_encoder,
    )
    become("worker.lifecycle.train", given)
