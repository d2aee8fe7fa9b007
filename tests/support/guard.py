"""Keeping child processes from outliving the test run.

A fixture stops what it started, but nothing runs a fixture's end when pytest itself is killed
with -9. So every server asks the Linux kernel for a SIGKILL at the death of the thread that
started it (`PR_SET_PDEATHSIG`). Three limits of that call shape the helpers:

- The signal follows the *thread*: start servers in the main thread, as fixtures do.
- It is not inherited: a daemon that forks into the background escapes, so servers run in the
  foreground, and each grandchild must be looked after by its own parent.
- It exists on Linux only; elsewhere the fixtures' own clean-up is all there is.

Grandchildren that went astray are found by a marker in their environment, which every process
inherits even when it forks twice or opens a session of its own, and by their parents, since a
server that sets its own title (Valkey does) overwrites its environment.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
RUN_ID_VARIABLE = "TEST_RUN_ID"

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` that ties a child's life to the calling thread's."""
    libc = _libc  # loaded before the fork: a forked child should not import or allocate much
    if libc is None:
        return None
    parent = os.getpid()

    def ask_for_death_signal() -> None:
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return ask_for_death_signal


@dataclass(frozen=True, slots=True, order=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started: int  # clock ticks since boot

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        entry = _read_process(self.pid)
        return entry is not None and entry.id == self


@dataclass(frozen=True, slots=True)
class _Entry:
    id: ProcessId
    parent: int


def process_exists(pid: int) -> bool:
    """Say whether a process with this number runs; a zombie does not."""
    return _read_process(pid) is not None


def processes_of_run(run_id: str) -> set[ProcessId]:
    """Find the living processes that carry the marker, and all that descend from them."""
    entries = [entry for entry in map(_read_process, _all_pids()) if entry is not None]
    wanted = f"{RUN_ID_VARIABLE}={run_id}".encode()
    family = {entry.id.pid for entry in entries if wanted in _read_environment(entry.id.pid)}
    size = -1
    while size != len(family):
        size = len(family)
        family |= {entry.id.pid for entry in entries if entry.parent in family}
    return {entry.id for entry in entries if entry.id.pid in family}


def kill_processes(processes: Iterable[ProcessId]) -> None:
    """Send SIGKILL to each process that still runs."""
    for process in processes:
        if process.alive:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def _all_pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _read_process(pid: int) -> _Entry | None:
    """Return a living process, or None if it has ended or is a zombie."""
    try:
        # "pid (name) state parent ...": the name may hold blanks and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return _Entry(id=ProcessId(pid, int(fields[19])), parent=int(fields[1]))


def _read_environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or another user's
        return []
