"""What `evaluate` measures, and how, as options.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from producer.cli.labelled_options import Problem
from producer.cli.model_options import MaxLength, Resamples, Seed
from producer.cli.running import Device, DtypeOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What is measured, and how."""

    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="REF",
            help="A model to compare with, evaluated on the same rows.",
            show_default=False,
        ),
    ] = None
    replicate: Annotated[
        list[str] | None,
        typer.Option(
            "--replicate",
            metavar="REF",
            help="The same model trained with another seed, to see how much of the quality is "
            "luck; may be given several times.",
            show_default=False,
        ),
    ] = None
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="FILE",
            help="YAML with what is asked of the metrics; exit code 6 when it is not given.",
            show_default=False,
        ),
    ] = None
    report: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a report with pictures, one HTML file, without the texts.",
            show_default=False,
        ),
    ] = None
    record: Annotated[
        bool,
        typer.Option(
            "--record", help="Keep the evaluation with the registered version, for `promote`."
        ),
    ] = False
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="PART",
            help="Leave out efficiency, robustness or slices; may be given several times.",
            show_default=False,
        ),
    ] = None
    problem: Annotated[
        Problem | None,
        typer.Option("--problem", help="Left out: what the model solves.", show_default=False),
    ] = None
    max_length: MaxLength = None
    long_text: Annotated[
        Literal["truncate", "windows", "windows-max"],
        typer.Option("--long-text", help="What becomes of longer texts, as in a job."),
    ] = "truncate"
    dtype: DtypeOption = "auto"
    device: Device = None
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            metavar="X",
            help="Score from which on a label applies, where a text may have several.",
        ),
    ] = 0.5
    seed: Seed = 0
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, metavar="N", help="How often texts are perturbed anew."),
    ] = 3
    robustness_rows: Annotated[
        int,
        typer.Option(
            "--robustness-rows", min=1, metavar="N", help="Rows, drawn by the seed, to perturb."
        ),
    ] = 500
    resamples: Resamples = 1_000
