"""`run`: one job on this machine, from the corpus to the result, with nothing else to start."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from producer.cli.option_groups import with_groups
from producer.cli.options import JobIdOption, Json, Output
from producer.cli.progress_display import display
from producer.cli.schedule import DriftReference, Incremental, LogicalDate
from producer.cli.scoring_options import ScoringOptions
from producer.cli.stops import way_on_with_run
from producer.cli.submission import FooterProgress, print_submission
from producer.cli.terminal import say
from producer.cli.watching import finish
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from producer.progress import Progress
    from producer.run import Machine
    from producer.submit import Submission
    from schemas.job import Manifest

PANEL = "On this machine"

DtypeOption = Annotated[
    # As `schemas.job.Dtype`, which would load pydantic for `--help`.
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    typer.Option("--dtype", help="Number format of the model; int8 is for CPUs."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N. Left out: BULKSCORE_DEVICE, else auto.",
        show_default=False,
    ),
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Workers that share this machine.")
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("run", rich_help_panel=PANEL)(with_groups(run))


def run(
    scoring: ScoringOptions,
    output: Output,
    job_id: JobIdOption = None,
    logical_date: LogicalDate = None,
    incremental: Incremental = False,
    reference: DriftReference = None,
    device: Device = None,
    workers: Workers = 1,
    reprocess: Annotated[
        bool,
        typer.Option("--reprocess", help="Send chunks again that died in an earlier run."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what the workers log, instead of keeping it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a corpus on this machine in one go: broker and workers come and go with the command.

    Stopped or broken off, the same command completes what is missing; with --incremental, also
    what earlier ones left unfinished. Exit codes as `wait`.

    Example: bulkscore run -i reviews/ -o scored/ -m models/sentiment --text-column text
    """
    from producer.deployment import Deployment
    from producer.local import require_worker, stopped_by_signals
    from producer.occasion import occasion
    from producer.run import Machine, create, is_complete, log_of, progress_of_complete
    from producer.submit import Submission

    require_worker()
    started_for = occasion(job_id=job_id, logical_date=logical_date, incremental=incremental)
    deployment = Deployment.from_environment()
    spec = scoring.spec(output, drift_reference=reference)
    machine = Machine(workers=workers, device=device, log=None)

    def score(manifest: "Manifest", tell: "Callable[[Submission], None]") -> "Progress | None":
        on = machine if verbose else replace(machine, log=log_of(manifest.job_id))
        return _score(manifest, on, reprocess, tell)

    def tell(done: "Submission") -> None:
        shown = replace(done, increment=created.increment)
        print_submission(shown, as_json=as_json, waits=done.resumed is not None)

    try:
        with stopped_by_signals():
            created = create(deployment, spec, occasion=started_for, progress=FooterProgress())
            manifest = created.manifest
            if not created.is_open:
                tell(Submission(manifest=manifest, resumed=None))
                return
            for earlier in created.under_way:
                say(f"job {earlier.job_id} was not finished, it comes first")
                score(earlier, lambda _done: None)
            last = None if is_complete(deployment, manifest) else score(manifest, tell)
    except KeyboardInterrupt:
        say("\nstopped; what is scored is kept. The same command goes on from there:")
        say(shlex.join(["bulkscore", *sys.argv[1:]]))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if last is None:
        say(f"job {manifest.job_id} is complete already: every row has a result")
        last = progress_of_complete(deployment, manifest)
    elif last.dead:
        say(f"see why: {shlex.join(['bulkscore', 'dead-letters', manifest.spec.output])}")
        say("once that is mended, the same command with --reprocess sends them again")
    finish(
        deployment,
        manifest,
        last,
        as_json=as_json,
        to_stderr=not as_json,
        advise=way_on_with_run,
    )


def _score(
    manifest: "Manifest",
    machine: "Machine",
    reprocess: bool,
    tell: "Callable[[Submission], None]",
) -> "Progress | None":
    """Run the job to its end, and `tell` what there is to do before it begins."""
    from producer.processes import ProcessEnded
    from producer.run import running

    last = None
    try:
        with running(manifest, machine, send_dead_again=reprocess) as job:
            tell(job.submission)
            with display(as_json=False) as shown:
                for last in job.follow(say):
                    shown.show(last)
    except ProcessEnded:
        say("the run broke off; what is scored is kept, and the same command goes on from there")
        raise
    return last
