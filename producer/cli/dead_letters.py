"""`dead-letters`: see why chunks failed."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Job, Json
from producer.cli.terminal import (
    print_facts,
    print_json,
    print_line,
    print_table,
    row_range,
    say,
)
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.dead_letter import DeadLetter

PANEL = "Dead chunks"
# The first line of a message is enough for a table; --show has all of it.
MESSAGE_WIDTH = 100

Show = Annotated[
    int | None,
    typer.Option(
        "--show", min=0, metavar="CHUNK", help="All of one dead letter.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("dead-letters", rich_help_panel=PANEL)(dead_letters)


def dead_letters(job: Job, show: Show = None, as_json: Json = False) -> None:
    """List the chunks of a job that were buried, and why; of a lifecycle task, why it is dead.

    Example: bulkscore dead-letters s3://lake/scored --show 42
    """
    from producer.deployment import Deployment
    from producer.jobs import find_manifest
    from producer.tasks import is_task
    from schemas.survey import read_dead_letters, survey

    if is_task(job):
        if show is not None:
            raise UsageError("--show is for jobs: a task has no chunks")
        show_dead_task(job, as_json=as_json)
        return
    deployment = Deployment.from_environment()
    manifest = find_manifest(deployment, job)
    letters = read_dead_letters(deployment.storage, manifest, survey(deployment.storage, manifest))
    if show is not None:
        print_letter(letter_of(letters, show), as_json=as_json)
    elif as_json:
        print_json(letters)
    elif letters:
        print_letters(letters)
    else:
        say(f"job {manifest.job_id} has no dead chunks")


def show_dead_task(task: str, *, as_json: bool) -> None:
    """Print why a lifecycle task is dead."""
    from producer.cli.tasks import show_task
    from producer.tasks import Tasks

    tasks = Tasks.from_environment()
    report = tasks.report(task)
    if report.state != "dead":
        say(f"task {report.job_id} is not dead but {report.state}")
        return
    show_task(tasks, task, log=False, as_json=as_json)
    say(f"the end of what it said: bulkscore show {report.job_id} --log")
    say(f"once it is mended: bulkscore reprocess {report.job_id}")


def letter_of(letters: "list[DeadLetter]", chunk: int) -> "DeadLetter":
    """Return the dead letter of a chunk.

    Raises:
        UsageError: The chunk is not dead.
    """
    for letter in letters:
        if letter.chunk == chunk:
            return letter
    raise UsageError(f"chunk {chunk} is not dead; `bulkscore show JOB --chunk {chunk}` says more")


def print_letters(letters: "list[DeadLetter]") -> None:
    """Print dead letters as a table."""
    print_table(
        ("#chunk", "code", "file", "rows", "#attempts", "message"),
        (
            (
                letter.chunk,
                letter.code,
                letter.file.uri if letter.file else None,
                row_range(letter.row_start, letter.rows),
                len(letter.attempts),
                short_message(letter),
            )
            for letter in letters
        ),
    )


def short_message(letter: "DeadLetter") -> str:
    """Return the message on one line without the name of the file, which has a column."""
    message = letter.message.partition("\n")[0]
    if letter.file is not None:
        message = message.removeprefix(letter.file.uri).lstrip(" ,:")
    return message if len(message) <= MESSAGE_WIDTH else f"{message[: MESSAGE_WIDTH - 1]}…"


def print_letter(letter: "DeadLetter", *, as_json: bool) -> None:
    """Print all of one dead letter."""
    if as_json:
        print_json(letter)
        return
    print_facts(
        {
            "job": letter.job_id,
            "chunk": letter.chunk,
            "generation": letter.generation,
            "code": letter.code,
            "message": letter.message,
            "file": letter.file.uri if letter.file else None,
            "rows": row_range(letter.row_start, letter.rows),
            "row group": letter.row_group,
            "first bad row": letter.first_bad_row,
            "buried": f"{letter.buried_at:%Y-%m-%d %H:%M:%S %Z} by {letter.worker}",
        }
    )
    print_line("\nattempts")
    print_table(
        ("#attempt", "at", "worker", "code", "message"),
        ((a.number, f"{a.at:%H:%M:%S}", a.worker, a.code, a.message) for a in letter.attempts),
    )
    print_line(f"\n{letter.traceback.rstrip()}")
