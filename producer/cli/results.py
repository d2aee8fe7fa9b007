"""`verify` and `report`: is the result whole, and what does it say."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json, OutputArgument
from producer.cli.terminal import print_facts, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from producer.compare_record import Comparison
    from producer.drift import DriftReport
    from producer.label_counts import LabelCount
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

Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="JOB",
        help="A job, by id or output, to tell drift against.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
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


def report(output: OutputArgument, reference: Reference = None, as_json: Json = False) -> None:
    """Print the account of a job, a table of its labels, and how far its models agree.

    Of a job that has not ended: what there is so far. With --reference: the stability index of
    labels, scores and lengths as well, below 0.1 no drift, from 0.25 a large one.

    Example: bulkscore report s3://lake/scored
    """
    from producer.cli.watching import summary_facts
    from producer.compare import compare_models
    from producer.deployment import Deployment
    from producer.drift import drift_between
    from producer.jobs import find_manifest
    from producer.label_counts import count_labels
    from schemas import layout
    from schemas.finalize import read_summary
    from schemas.locations import canonical
    from schemas.manifest import read_manifest

    deployment = Deployment.from_environment()
    deployment.require_storage(output)
    storage = deployment.storage
    manifest = read_manifest(storage, canonical(output))
    has_ended = storage.exists(layout.summary(manifest.spec.output))
    summary = read_summary(storage, manifest.spec.output) if has_ended else None
    labels = count_labels(storage, manifest)
    comparisons = compare_models(storage, manifest)
    drift = None
    if reference is not None:
        drift = drift_between(storage, find_manifest(deployment, reference), manifest)
    if as_json:
        found = {"job_id": manifest.job_id, "summary": summary, "labels": labels}
        print_json({**found, "comparisons": comparisons, "drift": drift})
        return
    if summary is None:
        say(f"job {manifest.job_id} has not ended: these are the labels so far")
    else:
        print_facts(summary_facts(summary, manifest.spec.output))
        print_line("")
    print_labels(labels)
    print_comparisons(comparisons)
    if drift is not None:
        print_drift(drift)


def print_drift(found: "DriftReport") -> None:
    """Print how far a job is from its reference, and the bins of what drifted."""
    model = found.model if found.same_model else f"{found.model}, then {found.reference_model}"
    print_line(f"\ndrift since job {found.reference} ({model})")
    print_table(
        ("of", "#stability index", "#by chance below", "drift"),
        ((d.of, f"{d.psi:.4f}", f"{d.by_chance:.4f}", d.verdict.value) for d in found.drifts),
    )
    for moved in found.drifts:
        if moved.verdict.value != "none":
            print_line("")
            print_table(
                (moved.of, "#then", "#now"),
                ((b.name, f"{b.reference:.1%}", f"{b.share:.1%}") for b in moved.bins),
            )


def print_comparisons(comparisons: "list[Comparison]") -> None:
    """Print how far each model of a job agrees with the first."""
    from producer.cli.comparison_text import print_comparison

    for found in comparisons:
        print_line(f"\n{found.b.name} ({found.b.model}) beside {found.a.model}")
        print_comparison(found, models=False)


def print_labels(labels: "list[LabelCount]") -> None:
    """Print label counts as a table; the model is told where there are several."""
    several = any(count.model for count in labels)
    print_table(
        (*(["model"] if several else []), "label", "#rows", "#share", "#mean score"),
        (
            (
                *([count.model] if several else []),
                count.label if count.error is None else f"(error: {count.error})",
                count.rows,
                f"{count.share:.1%}",
                None if count.mean_score is None else f"{count.mean_score:.4f}",
            )
            for count in labels
        ),
    )
