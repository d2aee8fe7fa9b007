"""How many processors this process may keep busy."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Return the processors that affinity and the CPU limit of a container leave, at least 1.

    Half a processor counts as one: a thread that is stopped half of the time does more than none.

    Args:
        cgroups: Where the control groups (version 2) are mounted.
        own: The file that says which one this process is in.
    """
    limits = [_allowed(), *_limits(cgroups, own)]
    return max(1, math.ceil(min(limits)))


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(cgroups: Path, own: Path) -> list[float]:
    """Return the limits of this process' control group and of those it is in, in processors."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    groups = [group for path in paths for group in (cgroups / path, *(cgroups / path).parents)]
    return [
        limit
        for group in groups
        if group.is_relative_to(cgroups) and (limit := _limit(group / "cpu.max")) is not None
    ]


def _limit(file: Path) -> float | None:
    """Return time by period out of `cpu.max`; None where there is no file or no limit."""
    try:
        quota, period = file.read_text(encoding="utf-8").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # "max" is no number
        return None
