"""Where `train`, `evaluate` and `compress` run: in this terminal, or as a task of a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.tasks import follow_task
from producer.cli.terminal import print_line, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.task_record import Kind

PANEL = "Where it runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a command runs, as given on the command line."""

    local: Annotated[
        bool,
        typer.Option("--local", help="Run in this terminal, the default.", rich_help_panel=PANEL),
    ] = False
    queue: Annotated[
        bool,
        typer.Option(
            "--queue",
            help="Run as a task of a worker (`worker --queues lifecycle`), and print its id.",
            rich_help_panel=PANEL,
        ),
    ] = False
    wait: Annotated[
        bool,
        typer.Option("--wait", help="With --queue: wait for its end.", rich_help_panel=PANEL),
    ] = False

    def carry_out(self, kind: "Kind", arguments: Sequence[str], *, needs: Sequence[str]) -> None:
        """Become `worker.lifecycle.KIND`, or have a worker run it.

        Args:
            kind: Name of the module.
            arguments: For it.
            needs: Libraries of the train extra that it needs where it runs.

        Raises:
            UsageError: The options contradict each other.
        """
        from producer.processes import become, require_installed

        if self.local and self.queue:
            raise UsageError("give --local or --queue, not both")
        if self.wait and not self.queue:
            raise UsageError("--wait is for --queue: without it the command waits anyhow")
        if self.queue:
            _send(kind, arguments, wait=self.wait)
        else:
            for module in needs:
                require_installed(module, "train")
            become(f"worker.lifecycle.{kind}", arguments)


def _send(kind: "Kind", arguments: Sequence[str], *, wait: bool) -> None:
    from producer.task_arguments import for_worker
    from producer.tasks import Tasks

    tasks = Tasks.from_environment()
    request = for_worker(arguments)
    if paths := request.local_paths:
        say(f"the worker needs the same disk as this machine: {', '.join(paths)}")
    task = tasks.submit(kind, request)
    if not tasks.served():
        say("no worker takes such tasks now; start one: bulkscore worker --queues lifecycle")
    if not wait:
        print_line(task.task_id)
        say(f"follow it: bulkscore watch {task.task_id}")
        return
    say(f"task {task.task_id}")
    follow_task(tasks, task.task_id, keep_queued=True, fetch=request.keeps)
