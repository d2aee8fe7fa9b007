"""Where the demo plays: its folder, and the local stack that its commands talk to."""

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from producer.narrator import Narrator, bulkscore_program
from producer.processes import ChildProcess, wait_until_ready
from schemas.errors import UsageError

# Says that a folder is ours to write in and to clear, and is locked while a demo runs in it.
MARKER = ".bulkscore-demo"
UP_SECONDS = 90.0


@contextlib.contextmanager
def ours_alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one demo at a time, empty but for the marker.

    Raises:
        UsageError: It is not a demo's folder, or another demo runs in it.
    """
    marker = folder / MARKER
    if folder.exists() and not marker.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not the demo's: choose another --folder")
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another demo runs in {folder}") from None
        for old in folder.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
            elif old != marker:
                old.unlink()
        yield


@contextlib.contextmanager
def stack_up(folder: Path, narrator: Narrator) -> Iterator[None]:
    """Keep `bulkscore up` running in the background, known to all further commands.

    Raises:
        ProcessEnded: It did not come up.
    """
    arguments = ("up", "--state-dir", str(folder / "stack"))
    narrator.show("bulkscore", *arguments, note="    (in the background)")
    log = folder / "up.log"
    command = [bulkscore_program(), *arguments, "--json"]
    with ChildProcess("the local stack", command, log=log, environment=narrator.environment) as up:
        with narrator.console.status("starting …"):
            wait_until_ready(
                up,
                lambda: announced_url(log) is not None,
                timeout_seconds=UP_SECONDS,
                pause=time.sleep,
                clock=time.monotonic,
            )
        narrator.environment["BULKSCORE_REDIS_URL"] = str(announced_url(log))
        yield


def announced_url(log: Path) -> str | None:
    """Return the broker's URL from the log of `bulkscore up --json`, None until it is there."""
    if not log.exists():
        return None
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("}\n"):
            return str(json.loads(line)["redis_url"])
    return None
