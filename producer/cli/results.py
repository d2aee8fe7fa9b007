"""`verify`: is the result whole."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json, OutputArgument
from producer.cli.reporting import report
from producer.cli.terminal import print_facts, print_json, print_line, say

if TYPE_CHECKING:
    from producer.verify import Progress, VerifyReport

PANEL = "Results"
PROGRESS_SECONDS = 5.0
DEEP_ROWS = 200

Corpus = Annotated[
    bool,
    typer.Option(
        "--corpus/--no-corpus",
        help="Also read the corpus: files as planned, ids equal row by row.",
    ),
]
Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help="Also score a sample of rows again, one at a time and in fp32, and compare.",
    ),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        min=1,
        metavar="ROWS",
        help=f"Rows that --deep takes, over all chunks and lengths; {DEEP_ROWS} when left out.",
        show_default=False,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, metavar="N", help="Another seed samples other rows.")
]


def register(app: typer.Typer) -> None:
    """Add `verify` and `report` to `app`."""
    app.command("verify", rich_help_panel=PANEL)(verify)
    app.command("report", rich_help_panel=PANEL)(report)


def verify(
    output: OutputArgument,
    corpus: Corpus = True,
    deep: Deep = False,
    sample: Sample = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Recount a result against its manifest and corpus, and say exactly what is wrong.

    --deep needs the pinned model and the worker extra, and no broker.

    Exit codes: 0 every row of the corpus has exactly one result row; 1 something is there that
    should not be; 3 sound so far, but rows are in dead chunks or not scored yet.

    Example: bulkscore verify s3://lake/scored
    """
    from producer.deep_check import deep_check
    from producer.deployment import Deployment
    from producer.verify import verify as recount
    from schemas.errors import ExitCode, UsageError
    from schemas.locations import canonical

    if sample is not None and not deep:
        raise UsageError("--sample says how many rows --deep scores again: add --deep")
    deployment = Deployment.from_environment()
    deployment.require_storage(output)
    storage, place = deployment.storage, canonical(output)
    rescored = None
    if deep:
        say(f"scoring up to {sample or DEEP_ROWS:,} rows again")
        rescored = deep_check(
            storage,
            place,
            rows=sample or DEEP_ROWS,
            seed=seed,
            progress=told_now_and_then("rows scored again"),
        )
    progress = told_now_and_then("chunks checked")
    found = recount(storage, place, corpus=corpus, deep=rescored, progress=progress)
    if as_json:
        print_json(found)
    else:
        _print_verification(found)
    if not found.complete:
        raise typer.Exit(ExitCode.DEAD_CHUNKS if found.sound else ExitCode.UNEXPECTED)


def told_now_and_then(what: str) -> "Progress":
    """Return a progress that says every few seconds how much is done."""
    told = time.monotonic()

    def progress(done: int, of_all: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"{done:,} of {of_all:,} {what}")

    return progress


def _print_verification(found: "VerifyReport") -> None:
    """Print what a recount came to, what is wrong first."""
    for finding in found.findings:
        print_line(f"{finding.kind.value}: {finding.message}")
    kept = len(found.findings)
    if more := sum(found.counts.values()) - kept:
        print_line(f"… and {more:,} more findings")
    verdict = "incomplete"
    if found.complete:
        verdict = "complete: every row of the corpus has exactly one result row"
    elif not found.sound:
        verdict = "wrong"
    deep = {"rows scored again": f"{found.rows_rescored:,}"} if found.rows_rescored else {}
    print_facts(
        {
            "job": found.job_id,
            "result": verdict,
            "rows": f"{found.rows:,}",
            "  scored": f"{found.rows_scored:,}",
            "  with an error": f"{found.rows_error:,}",
            "  in dead chunks": f"{found.rows_dead:,}",
            "  missing": f"{found.rows_missing:,}",
            "ids": "compared with the corpus" if found.ids_compared else "not compared",
            **deep,
        }
    )
