"""`up`, `worker`, `flower`: long-running processes on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli import modelling, running
from producer.cli.options import Json
from producer.cli.running import PANEL, Device, Workers
from producer.cli.terminal import print_json, print_line, say

if TYPE_CHECKING:
    from producer.up import Announcement


FlowerPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=1,
        max=65_535,
        help="Port to listen on. Left out: BULKSCORE_FLOWER_PORT, else 5555.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands that run something on this machine to `app`."""
    running.register(app)
    app.command("up", rich_help_panel=PANEL)(up)
    app.command("worker", rich_help_panel=PANEL)(worker)
    app.command("flower", rich_help_panel=PANEL)(flower)
    modelling.register(app)


def up(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="DIR",
            help="Folder for queue, login and logs. Left out: ~/.local/state/bulkscore/up.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = 1,
    lifecycle: Annotated[
        bool,
        typer.Option(
            "--lifecycle",
            help="Start one more worker, for train, evaluate and compress with --queue.",
        ),
    ] = False,
    device: Device = None,
    with_flower: Annotated[
        bool, typer.Option("--flower", help="Start the dashboard as well.")
    ] = False,
    flower_port: Annotated[
        int | None,
        typer.Option(
            "--flower-port",
            metavar="PORT",
            min=1,
            max=65_535,
            help="Port of the dashboard. Left out: BULKSCORE_FLOWER_PORT, else 5555.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep a broker and workers up on this machine, for jobs from other terminals.

    Prints the line that points other terminals at it. Jobs that are under way when it is stopped
    go on when it is started again.

    Example: bulkscore up --flower
    """
    from producer.flower import FlowerSettings
    from producer.local import state_folder
    from producer.up import UpOptions, stay_up
    from schemas.settings import load

    options = UpOptions(
        state_dir=state_dir or state_folder() / "up",
        workers=workers,
        lifecycle=lifecycle,
        device=device,
        flower=load(FlowerSettings, flower_port=flower_port) if with_flower else None,
    )
    say("Starting the local stack …")
    stay_up(options, lambda stack: _announce(stack, as_json=as_json))
    say("The local stack is down.")


def worker(
    device: Device = None,
    queues: Annotated[
        str,
        typer.Option(
            "--queues",
            metavar="LIST",
            help="Priorities, the most urgent first; lifecycle: train, evaluate and compress.",
        ),
    ] = "high,normal,low",
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name in logs and on the dashboard; the host's when left out.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take chunks and lifecycle tasks off the queues at BULKSCORE_REDIS_URL until told to stop.

    One worker serves one device: start one for each GPU. SIGTERM or Ctrl-C lets it hand back the
    chunk it works on.

    Example: bulkscore worker --device cuda:1 --queues high,normal
    """
    from producer.local import require_worker
    from producer.processes import become, options

    require_worker()
    become("worker", options(queues=queues, device=device, name=name))


def flower(
    port: FlowerPort = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="IP",
            help="Address to listen on; other than loopback needs a password of your own.",
            show_default="127.0.0.1",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="Name for the login.", show_default="bulkscore"
        ),
    ] = None,
    read_only: Annotated[
        bool | None,
        typer.Option("--read-only", help="Only look: no stopping of workers.", show_default=False),
    ] = None,
) -> None:
    """Show workers and tasks of the broker at BULKSCORE_REDIS_URL in a browser (Celery's Flower).

    The login cannot be switched off. Its password is BULKSCORE_FLOWER_PASSWORD, or the content of
    the file BULKSCORE_FLOWER_PASSWORD_FILE, or else made up and printed.

    Example: bulkscore flower --port 5555
    """
    from producer.flower import FlowerSettings, require_flower, run_flower, with_password
    from schemas.settings import load

    require_flower()
    given = load(
        FlowerSettings,
        flower_port=port,
        flower_address=address,
        flower_user=user,
        flower_read_only=read_only,
    )
    settings = with_password(given)
    say(f"The dashboard is at {settings.url}, user {settings.flower_user}")
    if given.flower_password is None:
        say(f"password {settings.password}")
    run_flower(settings)


def _announce(stack: "Announcement", *, as_json: bool) -> None:
    flower = stack.flower
    if as_json:
        shown = flower and {
            "url": flower.url,
            "user": flower.flower_user,
            "password": flower.password,
        }
        facts = {"redis_url": stack.redis_url, "state_dir": str(stack.state_dir)}
        log = str(stack.worker_log)
        print_json({**facts, "worker_log": log, "flower": shown}, line=True)
        return
    say("The local stack is up; Ctrl-C stops it. In another terminal:")
    print_line(f"export BULKSCORE_REDIS_URL='{stack.redis_url}'")
    say(f"Workers log to {stack.worker_log}")
    if flower is not None:
        login = f"user {flower.flower_user}, password {flower.password}"
        say(f"The dashboard is at {flower.url}, {login}")
