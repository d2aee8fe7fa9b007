"""`report`: what the result of a job says, beside other models and other jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json, OutputArgument
from producer.cli.terminal import print_facts, print_json, print_line, print_table, say
from schemas.errors import BulkError, UsageError

if TYPE_CHECKING:
    from producer.compare_record import Comparison
    from producer.drift import Drift, DriftReport
    from producer.label_counts import LabelCount
    from schemas.summary import RecordedDrift

Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="JOB",
        help="A job, by id or output, to tell drift against; the job's own when left out.",
        show_default=False,
    ),
]

KeepDrift = Annotated[
    bool, typer.Option("--record", help="Keep the drift in the summary of the job.")
]


def report(
    output: OutputArgument,
    reference: Reference = None,
    record: KeepDrift = False,
    as_json: Json = False,
) -> None:
    """Print the account of a job, a table of its labels, and how far its models agree.

    Of a job that has not ended: what there is so far. With a reference: the stability index of
    labels, scores, lengths and unknown tokens as well, below 0.1 no drift, from 0.25 a large one.

    Example: bulkscore report s3://lake/scored
    """
    from producer.cli.watching import summary_facts
    from producer.compare import compare_models
    from producer.deployment import Deployment
    from producer.drift import drift_between
    from producer.drift_record import record_drift
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
    own = manifest.spec.drift_reference
    if record and reference is None and own is None:
        raise UsageError("--record keeps the drift against a job: give its --reference")
    has_ended = storage.exists(layout.summary(manifest.spec.output))
    summary = read_summary(storage, manifest.spec.output) if has_ended else None
    if record and summary is None:
        raise UsageError(f"job {manifest.job_id} has not ended: it has no summary yet")
    labels = count_labels(storage, manifest)
    comparisons = compare_models(storage, manifest)
    drift = None
    if reference is not None or record:
        against = find_manifest(deployment, reference or own or "")
        drift = drift_between(storage, against, manifest)
        if record:
            summary = record_drift(storage, manifest, drift)
    elif own is not None:
        try:
            drift = drift_between(storage, read_manifest(storage, own), manifest)
        except BulkError as error:
            say(f"drift is not told: {error}")
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
    elif summary is not None and summary.drift:
        print_line(f"\ndrift since job {summary.drift[0].reference}, as it was recorded")
        print_indices(summary.drift)


def print_drift(found: "DriftReport") -> None:
    """Print how far a job is from its reference, and the bins of what drifted."""
    model = found.model if found.same_model else f"{found.model}, then {found.reference_model}"
    print_line(f"\ndrift since job {found.reference} ({model})")
    print_indices(found.drifts)
    for moved in found.drifts:
        if moved.verdict.value != "none":
            print_line("")
            print_table(
                (moved.of, "#then", "#now"),
                ((b.name, f"{b.reference:.1%}", f"{b.share:.1%}") for b in moved.bins),
            )


def print_indices(drifts: "Sequence[Drift | RecordedDrift]") -> None:
    """Print the stability indices."""
    print_table(
        ("of", "#stability index", "#by chance below", "drift"),
        ((d.of, f"{d.psi:.4f}", f"{d.by_chance:.4f}", str(d.verdict)) for d in drifts),
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
