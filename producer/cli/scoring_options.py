"""What a job shall do, as options of `plan`, `submit` and `run`.

Imports nothing heavy: this module is loaded for `--help`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from producer.cli.option_values import parse_canary, parse_error_budget

if TYPE_CHECKING:
    from schemas.job import JobSpec, Priority

CORPUS = "Corpus"
SCORING = "Scoring"
FAULTS = "Bad input"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """What a job shall do, as given on the command line."""

    input: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            metavar="URI",
            help="Parquet file, folder or glob, local or s3://; may be given several times.",
            rich_help_panel=CORPUS,
            show_default=False,
        ),
    ]
    text_column: Annotated[
        str,
        typer.Option(
            "--text-column",
            metavar="NAME",
            help="Column that holds the text.",
            rich_help_panel=CORPUS,
            show_default=False,
        ),
    ]
    id_column: Annotated[
        list[str],
        typer.Option(
            "--id-column",
            metavar="NAME",
            help="Column to copy into the result; may be given several times.",
            rich_help_panel=CORPUS,
            show_default=False,
        ),
    ] = field(default_factory=list)
    chunk_rows: Annotated[
        int,
        typer.Option(
            "--chunk-rows",
            min=1,
            metavar="N",
            help="Rows per chunk to aim at; a chunk is the unit of queueing, retry and result.",
            rich_help_panel=CORPUS,
        ),
    ] = 2_000
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]REF",
            help="Folder or s3:// prefix of a Hugging Face sequence classifier. Given several "
            "times, each scores every row, and NAME, else the last part of REF, ends the names of "
            "its columns.",
            rich_help_panel=SCORING,
            show_default=False,
        ),
    ]
    canary: Annotated[
        str | None,
        typer.Option(
            "--canary",
            metavar="REF",
            help="A second model that scores a sample of the rows, into columns that end in "
            "_canary; it decides nothing about the job.",
            rich_help_panel=SCORING,
            show_default=False,
        ),
    ] = None
    canary_share: Annotated[
        str,
        typer.Option(
            "--canary-share",
            metavar="P%",
            help="How many of the rows that are.",
            rich_help_panel=SCORING,
        ),
    ] = "5%"
    canary_seed: Annotated[
        int,
        typer.Option(
            "--canary-seed",
            min=0,
            metavar="N",
            help="Another seed takes other rows.",
            rich_help_panel=SCORING,
        ),
    ] = 0
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            min=8,
            metavar="TOKENS",
            help="Tokens the model reads at once; its own limit when left out.",
            rich_help_panel=SCORING,
            show_default=False,
        ),
    ] = None
    long_text: Annotated[
        Literal["truncate", "windows", "windows-max"],
        typer.Option(
            "--long-text",
            help="What becomes of tokens behind the length: cut off, or scored in further windows "
            "with an overlap of a quarter, whose scores are averaged (windows) or of which the "
            "strongest counts (windows-max).",
            rich_help_panel=SCORING,
        ),
    ] = "truncate"
    token_budget: Annotated[
        int | None,
        typer.Option(
            "--token-budget",
            min=1,
            metavar="TOKENS",
            help="Most tokens in one batch; chosen by the worker for its device when left out.",
            rich_help_panel=SCORING,
            show_default=False,
        ),
    ] = None
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        typer.Option(
            "--dtype", help="Number format of the model; int8 is for CPUs.", rich_help_panel=SCORING
        ),
    ] = "auto"
    all_scores: Annotated[
        bool,
        typer.Option(
            "--all-scores",
            help="Also write the score of every label.",
            rich_help_panel=SCORING,
        ),
    ] = False
    max_row_errors: Annotated[
        str | None,
        typer.Option(
            "--max-row-errors",
            metavar="N|P%",
            help="Stop the job once more rows than this have an error: failed, exit code 4.",
            rich_help_panel=FAULTS,
            show_default=False,
        ),
    ] = None
    max_dead_chunks: Annotated[
        str | None,
        typer.Option(
            "--max-dead-chunks",
            metavar="N|P%",
            help="Stop the job early once more chunks than this are dead. A job with any dead "
            "chunk ends as failed, exit code 3.",
            rich_help_panel=FAULTS,
            show_default=False,
        ),
    ] = None
    skip_bad_files: Annotated[
        bool,
        typer.Option(
            "--skip-bad-files",
            help="Leave out files that are not there or cannot be read; the summary names them.",
            rich_help_panel=FAULTS,
        ),
    ] = False

    def spec(
        self,
        output: str,
        *,
        priority: "Priority" = "normal",
        drift_reference: str | None = None,
    ) -> "JobSpec":
        """Return the spec of the job that is asked for, with locations made absolute.

        Raises:
            UsageError: An option makes no sense.
        """
        from schemas.job import JobSpec
        from schemas.locations import canonical
        from schemas.named_models import named_models

        models = named_models(self.model)
        canary = parse_canary(self.model, self.canary, self.canary_share, self.canary_seed)
        beside = models.refs[1:] if self.canary is None else (self.canary,)
        return JobSpec(
            inputs=tuple(canonical(uri) for uri in self.input),
            output=canonical(output),
            model=models.refs[0],
            further_models=beside,
            model_names=models.names,
            text_column=self.text_column,
            id_columns=tuple(self.id_column),
            chunk_rows=self.chunk_rows,
            max_length=self.max_length,
            long_text=self.long_text,
            token_budget=self.token_budget,
            dtype=self.dtype,
            all_scores=self.all_scores,
            skip_bad_files=self.skip_bad_files,
            max_row_errors=parse_error_budget("--max-row-errors", self.max_row_errors),
            max_dead_chunks=parse_error_budget("--max-dead-chunks", self.max_dead_chunks),
            priority=priority,
            canary=canary,
            drift_reference=drift_reference,
        )
