"""`python -m worker`: one worker, that is one main process and one child for one device slot."""

import os
import socket
import uuid
from typing import Annotated

import typer

from schemas.errors import BulkError
from schemas.job import PRIORITIES
from schemas.message import LIFECYCLE
from schemas.settings import WorkerSettings, load
from worker.scratch import scratch_folder
from worker.slot import NAME_VARIABLE, RUN_DIR_VARIABLE


def main(
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    queues: Annotated[str, typer.Option(help="Queues to serve, the most urgent first.")] = ",".join(
        PRIORITIES
    ),
    name: Annotated[str | None, typer.Option(help="Name of this worker.")] = None,
) -> None:
    """Score chunks until told to stop."""
    if device is not None:
        os.environ["BULKSCORE_DEVICE"] = device
    # A name of its own for every start: a lease under it can only be that of a dead child.
    name = f"{name or socket.gethostname()}-{uuid.uuid4().hex[:6]}"
    os.environ[NAME_VARIABLE] = name
    try:
        # Fixed before temporary files get a folder that goes away with this worker.
        settings = load(WorkerSettings)
        os.environ["BULKSCORE_MODEL_CACHE_DIR"] = str(settings.model_cache_dir)
        os.environ["BULKSCORE_TASK_DIR"] = str(settings.task_dir)
        with scratch_folder() as folder:
            os.environ[RUN_DIR_VARIABLE] = str(folder)
            _serve(name, queues)
    except BulkError as error:
        typer.echo(f"error [{error.code}]: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


def _serve(name: str, wanted: str) -> None:
    from schemas.errors import UsageError
    from schemas.transport import queues
    from worker.app import app, look_after_tasks

    given, known = set(wanted.split(",")), (*PRIORITIES, LIFECYCLE)
    if unknown := given - set(known):
        raise UsageError(f"no such queue: {', '.join(sorted(unknown))}; use {', '.join(known)}")
    if LIFECYCLE in given:
        look_after_tasks()
    _require_admittance()
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--hostname=bulkscore@{name}",
            f"--queues={queues([name for name in known if name in given])}",
            "--without-gossip",
            "--without-mingle",
            "--task-events",
        ]
    )


def _require_admittance() -> None:
    """Raise BrokerRefused where Redis turns us away, for which Celery would try again for ever."""
    from schemas.errors import BrokerRefused, BrokerUnavailable
    from schemas.ledger import Ledger
    from schemas.settings import BrokerSettings

    try:
        Ledger(load(BrokerSettings)).active()
    except BrokerRefused:
        raise
    except BrokerUnavailable:
        return  # Celery waits for it


if __name__ == "__main__":
    typer.run(main)
