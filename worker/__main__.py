"""`python -m worker`: one worker, that is one main process and one child for one device slot."""

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import BulkError
from schemas.job import PRIORITIES
from schemas.message import LIFECYCLE
from schemas.settings import EndpointSettings, WorkerSettings, load
from worker.run_dir import NAME_VARIABLE, run_folder
from worker.scratch import scratch_folder


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
        endpoint = load(EndpointSettings)
        scratch = scratch_folder()
        with (
            run_folder(endpoint.run_dir or scratch) as folder,
            _answering(endpoint, folder, settings.stall_seconds),
        ):
            _serve(name, queues)
    except BulkError as error:
        typer.echo(f"error [{error.code}]: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


@contextlib.contextmanager
def _answering(settings: EndpointSettings, folder: Path, stall_seconds: float) -> Iterator[None]:
    if settings.http_port is None:
        yield
        return
    from schemas.exposition import share_values
    from schemas.http_endpoint import serving
    from worker.probes import probes

    share_values(folder / "metrics")  # before any module makes a metric
    with serving(settings, probes(stall_seconds)):
        yield


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
