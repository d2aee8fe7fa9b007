"""`verify` and `report`: is the result whole, and what does it say."""

from typing import TYPE_CHECKING

import typer

from producer.cli.options import Json, OutputArgument
from producer.cli.terminal import print_facts, print_json, print_line, print_table, say

if TYPE_CHECKING:
    from producer.label_counts import LabelCount

PANEL = "Results"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("report", rich_help_panel=PANEL)(report)


def report(output: OutputArgument, as_json: Json = False) -> None:
    """Print the account of a job and a table of its labels.

    Of a job that has not ended: what there is so far.

    Example: bulkscore report s3://lake/scored
    """
    from producer.cli.watching import summary_facts
    from producer.deployment import Deployment
    from producer.label_counts import count_labels
    from schemas import layout
    from schemas.finalize import read_summary
    from schemas.manifest import read_manifest
    from schemas.storage import canonical

    storage = Deployment.from_environment().storage
    manifest = read_manifest(storage, canonical(output))
    has_ended = storage.exists(layout.summary(manifest.spec.output))
    summary = read_summary(storage, manifest.spec.output) if has_ended else None
    labels = count_labels(storage, manifest)
    if as_json:
        print_json({"job_id": manifest.job_id, "summary": summary, "labels": labels})
        return
    if summary is None:
        say(f"job {manifest.job_id} has not ended: these are the labels so far")
    else:
        print_facts(summary_facts(summary, manifest.spec.output))
        print_line("")
    print_labels(labels)


def print_labels(labels: "list[LabelCount]") -> None:
    """Print label counts as a table."""
    print_table(
        ("label", "#rows", "#share", "#mean score"),
        (
            (
                count.label if count.error is None else f"(error: {count.error})",
                count.rows,
                f"{count.share:.1%}",
                None if count.mean_score is None else f"{count.mean_score:.4f}",
            )
            for count in labels
        ),
    )
