"""`resume` and `reconcile`: bring queue and ledger in step with what the object store holds."""

from typing import Annotated

import typer

from producer.cli.options import Json, OutputArgument
from producer.cli.terminal import print_json, print_line, print_table, say

PANEL = "Look after it"

Uncancel = Annotated[bool, typer.Option("--uncancel", help="Let a job that was cancelled go on.")]
OneJob = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="ID",
        help="Only this job, instead of all that have not ended.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("resume", rich_help_panel=PANEL)(resume)
    app.command("reconcile", rich_help_panel=PANEL)(reconcile)


def resume(output: OutputArgument, uncancel: Uncancel = False, as_json: Json = False) -> None:
    """Enter a job again from its output alone, as after the loss of Redis, and let it go on.

    Safe at any time and any number of times: results that exist are never scored again.

    Example: bulkscore resume s3://lake/scored
    """
    from producer.deployment import Deployment
    from producer.recovery import take_up
    from schemas.manifest import read_manifest
    from schemas.storage import canonical

    deployment = Deployment.from_environment()
    deployment.require_broker()
    deployment.require_storage(output)
    manifest = read_manifest(deployment.storage, canonical(output))
    resumed = take_up(deployment, manifest, uncancel=uncancel)
    if as_json:
        print_json({"job_id": manifest.job_id, "resumed": resumed})
        return
    print_line(manifest.job_id)
    entered = "entered again from its output" if resumed.restored else "the ledger knew the job"
    say(
        f"{entered}: {resumed.succeeded:,} chunks succeeded, {resumed.dead:,} dead, "
        f"{resumed.pending:,} pending"
    )


def reconcile(job: OneJob = None, as_json: Json = False) -> None:
    """Make one pass of the reconciler: put pending chunks on the queue, end jobs that are done.

    Workers do this all the time; by hand or from a CronJob it is for when none of them can.

    Example: bulkscore reconcile
    """
    from producer.deployment import Deployment
    from producer.recovery import reconcile as one_pass

    deployment = Deployment.from_environment()
    deployment.require_broker()
    passes = one_pass(deployment, job)
    if as_json:
        print_json(passes)
    elif passes:
        print_table(
            ("job", "#enqueued", "#leases expired", "ended"),
            ((p.job_id, p.enqueued, p.expired, p.ended) for p in passes),
        )
    else:
        say("no job needs a reconciler")
