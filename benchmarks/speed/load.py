"""What else runs on the machine: the processor time of other programs, from /proc/stat."""

import os
import time
from pathlib import Path
from typing import NamedTuple

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Reading(NamedTuple):
    """The clock, and the processor seconds that all programs of the machine have used."""

    clock: float
    busy: float


def read() -> Reading:
    """Read the clock and the counters of the machine."""
    return Reading(time.perf_counter(), busy_seconds(Path("/proc/stat").read_text()))


def busy_seconds(stat: str) -> float:
    """Return what /proc/stat says is used: all but idle and waiting; what guests take is in user.

    Time that the host of a virtual machine gave to others (steal) counts as used.
    """
    name, *fields = stat.split("\n", 1)[0].split()
    if name != "cpu":
        raise ValueError(f"/proc/stat begins with {name!r}, not with the sum over processors")
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICKS_A_SECOND


def foreign_share(before: Reading, after: Reading, *, own: float, cores: int) -> float:
    """Return the share of the machine's processor time that others had between two readings.

    Args:
        before: The earlier reading.
        after: The later one.
        own: Processor seconds that are ours.
        cores: Processors of the machine.
    """
    available = (after.clock - before.clock) * cores
    return max(0.0, after.busy - before.busy - own) / available
