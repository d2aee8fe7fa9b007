"""`compress`: a smaller and faster model that is hardly worse, made by the worker side."""

from typing import Annotated, Literal

import typer

from producer.cli.compressing_options import Teaching, Training
from producer.cli.labelled_options import LabelledData
from producer.cli.model_options import ModelArgument, ModelOut, Resamples, Seed
from producer.cli.option_groups import as_arguments, with_groups
from producer.cli.options import Json
from producer.cli.running import Device
from producer.cli.where import Where

PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("compress", rich_help_panel=PANEL)(with_groups(compress))


def compress(
    ref: ModelArgument,
    method: Annotated[
        Literal["bf16", "int8", "prune-layers", "prune-ffn", "prune-heads", "distil"],
        typer.Option(
            "--method",
            help="Weights in 16 or 8 bits; the least important layers, feed-forward neurons or "
            "attention heads cut out; or a student of fewer layers.",
            show_default=False,
        ),
    ],
    texts: LabelledData,
    out: ModelOut,
    training: Training,
    teaching: Teaching,
    where: Where,
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
    device: Device = None,
    seed: Seed = 0,
    resamples: Resamples = 1_000,
    as_json: Json = False,
) -> None:
    """Make a model smaller, as far as a metric on labelled texts allows.

    Finds the smallest model whose metric is at most --max-drop worse, and prints size, speed,
    memory and quality before and after. Exit code 6, and nothing is written, when there is none.
    Needs the train extra.

    Example: bulkscore compress sentiment@prod --method int8 --data test.csv --max-drop 0.01 \
--out sentiment
    """
    given = as_arguments(
        texts,
        training,
        teaching,
        method=method,
        out=out,
        metric=metric,
        max_drop=max_drop,
        device=device,
        seed=seed,
        resamples=resamples,
        json=as_json,
    )
    needs = ("torch", "transformers", "accelerate", "sklearn")
    where.carry_out("compress", [*given, "--", ref], needs=needs)
