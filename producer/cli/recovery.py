"""`resume` and `reconcile`: bring queue and ledger in step with what the object store holds."""

from typing import Annotated

import typer

from producer.cli.option_values import parse_error_budget
from producer.cli.options import Json, OutputArgument
from producer.cli.stops import state_of, way_on
from producer.cli.terminal import print_json, print_line, print_table, say
from schemas.errors import UsageError

PANEL = "Look after it"

Uncancel = Annotated[bool, typer.Option("--uncancel", help="Let a job that was cancelled go on.")]
MaxRowErrors = Annotated[
    str | None,
    typer.Option(
        "--max-row-errors",
        metavar="N|P%",
        help="Another limit from now on; 100% lets a job that it stopped go on to its end.",
        show_default=False,
    ),
]
MaxDeadChunks = Annotated[
    str | None,
    typer.Option(
        "--max-dead-chunks", metavar="N|P%", help="Likewise for dead chunks.", show_default=False
    ),
]
OneJob = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="ID",
        help="Only this job, instead of all that have not ended.",
        show_default=False,
    ),
]

Forever = Annotated[
    bool,
    typer.Option(
        "--forever", help="Go on until SIGTERM, answering probes and metrics (BULKSCORE_HTTP_PORT)."
    ),
]
Every = Annotated[
    float | None,
    typer.Option(
        "--every",
        metavar="SECONDS",
        min=0.1,
        help="Time between passes of --forever.",
        show_default="BULKSCORE_RECONCILE_SECONDS",
    ),
]

Outputs = Annotated[
    list[str],
    typer.Option(
        "--output",
        metavar="URI",
        help="First enter the job there again if Redis has lost it before it ended; several times "
        "for several.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("resume", rich_help_panel=PANEL)(resume)
    app.command("reconcile", rich_help_panel=PANEL)(reconcile)


def resume(
    output: OutputArgument,
    uncancel: Uncancel = False,
    max_row_errors: MaxRowErrors = None,
    max_dead_chunks: MaxDeadChunks = None,
    as_json: Json = False,
) -> None:
    """Enter a job again from its output alone, as after the loss of Redis, and let it go on.

    Safe at any time and any number of times: results that exist are never scored again. A job
    that was stopped by its error budget needs another one to go on.

    Example: bulkscore resume s3://lake/scored --max-row-errors 2%
    """
    from producer.deployment import Deployment
    from producer.job_report import job_report
    from producer.recovery import take_up
    from schemas.locations import canonical
    from schemas.manifest import read_manifest

    budgets = {
        "max_row_errors": parse_error_budget("--max-row-errors", max_row_errors),
        "max_dead_chunks": parse_error_budget("--max-dead-chunks", max_dead_chunks),
    }
    deployment = Deployment.from_environment()
    deployment.require_broker()
    deployment.require_storage(output)
    manifest = read_manifest(deployment.storage, canonical(output))
    resumed = take_up(deployment, manifest, uncancel=uncancel, **budgets)
    job = job_report(deployment, manifest)
    if as_json:
        print_json({"job_id": job.job_id, "resumed": resumed, "stopped_by": job.stopped_by})
        return
    print_line(manifest.job_id)
    entered = "entered again from its output" if resumed.restored else "the ledger knew the job"
    say(
        f"{entered}: {resumed.succeeded:,} chunks succeeded, {resumed.dead:,} dead, "
        f"{resumed.pending:,} pending"
    )
    if job.stopped_by is not None:
        say(state_of(job))
    for line in way_on(job, job.output):
        say(line)


def reconcile(
    job: OneJob = None,
    output: Outputs = [],  # noqa: B006 - typer copies it
    forever: Forever = False,
    every: Every = None,
    as_json: Json = False,
) -> None:
    """Make one pass of the reconciler: put pending chunks on the queue, end jobs that are done.

    Workers do this all the time, and bring back what Redis has lost as long as one of them lives
    on that knew of it. By hand or from a CronJob it is for when none does, and with --forever for
    where there may be no worker: queues are fed and measured all the same.

    Example: bulkscore reconcile --output s3://lake/scored
    """
    from producer.deployment import Deployment
    from producer.recovery import reconcile as one_pass

    if every is not None and not forever:
        raise UsageError("--every is the time between passes of --forever, which is not given")
    if forever and (job is not None or output or as_json):
        raise UsageError("--forever looks after all jobs: it takes no --job, --output or --json")
    if forever:
        _forever(every)
        return
    deployment = Deployment.from_environment()
    deployment.require_broker()
    deployment.require_storage(*output)
    passes = one_pass(deployment, job, outputs=output)
    if as_json:
        print_json(passes)
    elif passes:
        print_table(
            ("job", "#enqueued", "#leases expired", "ended"),
            ((p.job_id, p.enqueued, p.expired, p.ended) for p in passes),
        )
    else:
        say("no job needs a reconciler")


def _forever(every: float | None) -> None:
    from producer.deployment import Deployment
    from producer.reconciling import reconcile_forever
    from schemas.logs import set_up_logging
    from schemas.settings import (
        BrokerSettings,
        EndpointSettings,
        ScheduleSettings,
        StorageSettings,
        WorkerSettings,
        load,
    )

    told = load(WorkerSettings)
    set_up_logging(format_name=told.log_format, level=told.log_level)
    deployment = Deployment(
        broker_settings=load(BrokerSettings),
        storage_settings=load(StorageSettings),
        schedule=load(ScheduleSettings, reconcile_seconds=every),
    )
    reconcile_forever(deployment, load(EndpointSettings))
