"""Metric types of Prometheus, whose values a worker's two processes keep in files.

The main process of a worker answers for its child. Each of the two has files under its part's
name and not, as prometheus_client's default is, under its process id: a new child goes on with the
counters of the dead one, and no files pile up. Any other process counts for itself. Import the
types from here: what a value is must be fixed before the first metric is made.
"""

import os
from pathlib import Path

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["Counter", "Gauge", "Histogram", "exposed", "share_values"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client
_MAIN_VARIABLE = "BULKSCORE_METRICS_PROCESS"


def share_values(folder: Path) -> None:
    """Have this process and its children keep values in `folder`, which is emptied.

    To be called before the first metric is made.
    """
    folder.mkdir(exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    os.environ[_FOLDER_VARIABLE] = str(folder)
    os.environ[_MAIN_VARIABLE] = str(os.getpid())
    _fix_values()


def exposed() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    folder = os.environ.get(_FOLDER_VARIABLE)
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _fix_values() -> None:
    part = _part()
    if part is None:
        values.ValueClass = values.MutexValue
        return
    if part == "child":
        # A gauge says what is so, and of the child that has died nothing is so any more.
        for left in Path(os.environ[_FOLDER_VARIABLE]).glob("gauge_*_child.db"):
            left.unlink()
    values.ValueClass = values.MultiProcessValue(lambda: part)  # type: ignore[no-untyped-call]


def _part() -> str | None:
    """Return which process of a worker this is, None if neither."""
    main = os.environ.get(_MAIN_VARIABLE)
    if _FOLDER_VARIABLE not in os.environ or main is None:
        return None
    if main == str(os.getpid()):
        return "main"
    return "child" if main == str(os.getppid()) else None


_fix_values()
