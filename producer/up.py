"""The long-running local stack: broker, workers and, if wanted, the dashboard."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from producer.flower import FlowerSettings, require_flower, with_password
from producer.local import (
    LocalStack,
    StackOptions,
    require_worker,
    stopped_by_signals,
    supervise_forever,
)
from producer.processes import ChildProcess, module_command
from schemas.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """How to reach a stack that is up. Holds its secrets."""

    redis_url: str
    state_dir: Path
    worker_log: Path
    flower: FlowerSettings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What the stack is made of and where it keeps its files."""

    state_dir: Path
    workers: int
    lifecycle: bool
    device: str | None
    flower: FlowerSettings | None


def stay_up(options: UpOptions, announce: Callable[[Announcement], None]) -> None:
    """Start the stack, announce it when it is ready, and keep it up until a signal ends it.

    Raises:
        UsageError: Another stack uses the same folder.
        ConfigurationError: Something is not installed.
        ProcessEnded: A part of it keeps ending.
    """
    require_worker()
    if options.flower is not None:
        require_flower()
    state_dir = options.state_dir.expanduser().absolute()
    worker_log = state_dir / "logs" / "worker.log"
    stack_options = StackOptions(
        directory=state_dir / "broker",
        log=worker_log,
        persistent=True,
        workers=options.workers,
        lifecycle=options.lifecycle,
        device=options.device,
    )
    with contextlib.ExitStack() as cleanup, contextlib.suppress(KeyboardInterrupt):
        cleanup.enter_context(stopped_by_signals())
        cleanup.enter_context(_only_one(state_dir))
        stack = cleanup.enter_context(LocalStack(stack_options))
        others: list[ChildProcess] = []
        flower = None
        if options.flower is not None:
            flower = with_password(options.flower)
            child = _flower_child(flower, stack.url, state_dir / "logs" / "flower.log")
            others.append(cleanup.enter_context(child))
        stack.wait_until_ready()
        announce(
            Announcement(
                redis_url=stack.url, state_dir=state_dir, worker_log=worker_log, flower=flower
            )
        )
        supervise_forever(stack, others)


def _flower_child(settings: FlowerSettings, url: str, log: Path) -> ChildProcess:
    return ChildProcess(
        "the dashboard",
        module_command("producer.flower"),
        log=log,
        environment={
            "BULKSCORE_REDIS_URL": url,
            "BULKSCORE_FLOWER_ADDRESS": settings.flower_address,
            "BULKSCORE_FLOWER_PORT": str(settings.flower_port),
            "BULKSCORE_FLOWER_USER": settings.flower_user,
            "BULKSCORE_FLOWER_PASSWORD": settings.password,
        },
    )


@contextlib.contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel releases however this process ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode().strip()
            raise UsageError(
                f"process {owner} keeps a stack up in {state_dir}; stop it, or choose another "
                "--state-dir"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
