"""`reprocess`: send dead chunks again, or all that a bad model version wrote."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.dead_letters import PANEL, print_letters
from producer.cli.options import Json
from producer.cli.terminal import number_of, print_json, print_line, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.dead_letter import DeadLetter

Codes = Annotated[
    list[str],
    typer.Option(
        "--code", metavar="CODE", help="Only chunks that died of this; several times for several."
    ),
]
Chunks = Annotated[
    list[int],
    typer.Option("--chunk", min=0, metavar="N", help="Only this chunk; several times for several."),
]
Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB",
        help="A job id, or the URI of the job's output. With --model-version: any number of "
        "outputs, or folders with jobs below them.",
    ),
]
ModelVersion = Annotated[
    str | None,
    typer.Option(
        "--model-version",
        metavar="NAME@VERSION",
        help="Instead of dead chunks: every result that this model version wrote, or the model "
        "whose digest begins so.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="REF",
        help="With --model-version, the model that takes its place. Left out: what the job's own "
        "reference, such as name@alias, stands for now.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")]
TokenBudget = Annotated[
    int | None,
    typer.Option(
        "--token-budget",
        min=1,
        metavar="TOKENS",
        help="Another token budget for these chunks, such as a smaller one when memory ran out.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("reprocess", rich_help_panel=PANEL)(reprocess)


def reprocess(
    job: Jobs,
    code: Codes = [],  # noqa: B006 - typer copies it
    chunk: Chunks = [],  # noqa: B006
    token_budget: TokenBudget = None,
    model_version: ModelVersion = None,
    model: Model = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Send dead chunks again, once what killed them is mended; or all that a bad model wrote.

    Of a lifecycle task that is dead or was cancelled: send it again as a new task.

    With --model-version, the results of that version are set aside and scored again as a new
    generation of their jobs. Exit code 2 when that could not be done for all of them.

    Example: bulkscore reprocess nightly-2025-06-01 --code device_out_of_memory --token-budget 4096
    """
    from producer.cli.bad_version import reprocess_version
    from producer.tasks import is_task

    if model_version is not None:
        if code or chunk or token_budget is not None:
            raise UsageError("--model-version is about all results of a version, not some chunks")
        reprocess_version(job, model_version, model, dry_run=dry_run, as_json=as_json)
        return
    if model is not None or len(job) > 1:
        raise UsageError("several jobs, or another --model, are for --model-version")
    if is_task(job[0]):
        if code or chunk or token_budget is not None:
            raise UsageError("--code, --chunk and --token-budget are for jobs: a task has no chunk")
        reprocess_task(job[0], dry_run=dry_run, as_json=as_json)
        return
    reprocess_dead(job[0], code, chunk, token_budget, dry_run=dry_run, as_json=as_json)


def reprocess_task(task: str, *, dry_run: bool, as_json: bool) -> None:
    """Send a lifecycle task that failed again."""
    from producer.cli.tasks import show_task
    from producer.deployment import Deployment
    from producer.task_again import failed_task, send_again
    from producer.tasks import Tasks

    tasks = Tasks.from_environment()
    if dry_run:
        show_task(tasks, failed_task(tasks, task).job_id, log=False, as_json=as_json)
        say("the task would be sent again; nothing was changed")
        return
    again = send_again(Deployment.from_environment(), tasks, task)
    print_json(again) if as_json else print_line(again.task_id)
    say(f"follow it: bulkscore watch {again.task_id}")


def reprocess_dead(
    job: str,
    code: list[str],
    chunk: list[int],
    token_budget: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send dead chunks of a job again."""
    from producer.deployment import Deployment
    from producer.jobs import find_manifest
    from producer.reprocess import find_dead_letters
    from producer.reprocess import reprocess as send_again

    deployment = Deployment.from_environment()
    manifest = find_manifest(deployment, job)
    if dry_run:
        _, letters = find_dead_letters(deployment.storage, manifest, codes=code, chunks=chunk)
        would_send(letters, as_json=as_json)
        return
    deployment.require_broker()
    record = send_again(deployment, manifest, codes=code, chunks=chunk, token_budget=token_budget)
    if as_json:
        print_json({"job_id": manifest.job_id, "generation": record})
    elif record is None:
        say(f"job {manifest.job_id}: no dead chunk to send again")
    else:
        sent = number_of(len(record.chunks), "chunk")
        print_line(f"{sent} sent again as generation {record.number}")
        say(f"follow the job with: bulkscore watch {manifest.job_id}")


def would_send(letters: "list[DeadLetter]", *, as_json: bool) -> None:
    """Print the dead letters of the chunks that a reprocess would send again."""
    if as_json:
        print_json({"would_send": letters})
        return
    if letters:
        print_letters(letters)
    say(f"{number_of(len(letters), 'chunk')} would be sent again; nothing was changed")
