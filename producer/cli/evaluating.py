"""`evaluate`: how good, fast and robust a model is, on the worker side's own road."""

from typing import Annotated, Literal

import typer

from producer.cli.labelling import Data, Header, LabelColumn, Separator, TextColumn
from producer.cli.options import Json
from producer.cli.running import Device, DtypeOption
from producer.cli.tasks import Local, Queue, Wait, carry_out

PANEL = "Models"


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("evaluate", rich_help_panel=PANEL)(evaluate)


def evaluate(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="Folder or s3:// prefix, NAME@VERSION or NAME@ALIAS."),
    ],
    data: Data,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="REF",
            help="A model to compare with, evaluated on the same rows.",
            show_default=False,
        ),
    ] = None,
    replicate: Annotated[
        list[str] | None,
        typer.Option(
            "--replicate",
            metavar="REF",
            help="The same model trained with another seed, to see how much of the quality is "
            "luck; may be given several times.",
            show_default=False,
        ),
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="FILE",
            help="YAML with what is asked of the metrics; exit code 6 when it is not given.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a report with pictures, one HTML file, without the texts.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Keep the evaluation with the registered version, for `promote`."
        ),
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="PART",
            help="Leave out efficiency, robustness or slices; may be given several times.",
            show_default=False,
        ),
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    problem: Annotated[
        Literal["single-label", "multi-label", "regression"] | None,
        typer.Option("--problem", help="Left out: what the model solves.", show_default=False),
    ] = None,
    label_separator: Separator = "|",
    header: Header = "auto",
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Tokens the model reads at once; its own limit when left out.",
            show_default=False,
        ),
    ] = None,
    long_text: Annotated[
        Literal["truncate", "windows", "windows-max"],
        typer.Option("--long-text", help="What becomes of longer texts, as in a job."),
    ] = "truncate",
    dtype: DtypeOption = "auto",
    device: Device = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            metavar="X",
            help="Score from which on a label applies, where a text may have several.",
        ),
    ] = 0.5,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of all that is drawn.")
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, metavar="N", help="How often texts are perturbed anew."),
    ] = 3,
    robustness_rows: Annotated[
        int,
        typer.Option(
            "--robustness-rows", min=1, metavar="N", help="Rows, drawn by the seed, to perturb."
        ),
    ] = 500,
    resamples: Annotated[
        int,
        typer.Option("--resamples", min=100, metavar="N", help="Draws of each bootstrap."),
    ] = 1_000,
    local: Local = False,
    queue: Queue = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Say how good, fast and robust a model is on labelled texts, scored as a job scores them.

    Quality with 95 % intervals, calibration, speed and memory, labels that flip when texts are
    perturbed, slices by length, script and label. Exit code 6 when it does not pass the gate.
    Needs the train extra.

    Example: bulkscore evaluate sentiment@candidate --data test.csv --baseline sentiment@prod \
--gate gate.yaml --report evaluation.html --record
    """
    from producer.processes import options

    needs = ["torch", "transformers", "sklearn"]
    needs += ["matplotlib"] if report else []
    needs += ["yaml"] if gate else []
    given = options(
        data=data,
        baseline=baseline,
        replicate=replicate,
        gate=gate,
        report=report,
        record=record,
        skip=skip,
        text_column=text_column,
        label_column=label_column,
        problem=problem,
        label_separator=label_separator,
        header=header,
        max_length=max_length,
        long_text=long_text,
        dtype=dtype,
        device=device,
        threshold=threshold,
        seed=seed,
        seeds=seeds,
        robustness_rows=robustness_rows,
        resamples=resamples,
        json=as_json,
    )
    arguments = [*given, "--", ref]
    carry_out("evaluate", arguments, needs=needs, local=local, queue=queue, wait=wait)
