"""A contender in a process of its own, which scores when told to: its memory is its own.

    python -m benchmarks.speed.child NAME SETUP

Reads lines from stdin and answers each with a JSON object on stdout: the first, unasked, once it
is ready or has failed to be; then one for each line, until stdin ends.
"""

import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.setup import Setup

PEAK = "peak"
WARM_UP_TEXTS = 16

# Does once what is measured, and returns what the answer holds beside the times.
Task = Callable[[], dict[str, Any]]


def main() -> None:
    """Load, warm up, and score whenever a line comes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(fields: dict[str, Any]) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    name, setup = sys.argv[1], Setup.from_json(sys.argv[2])
    try:
        task = _peak(setup) if name == PEAK else _scoring(name, setup)
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({})
    for _ in sys.stdin:
        answer(_measured(task))
        ctypes.CDLL(None).malloc_trim(0)  # what it does not need is left to the next one


def _scoring(name: str, setup: Setup) -> Task:
    import torch

    from benchmarks.speed.contenders import CONTENDERS

    torch.set_num_threads(setup.threads)
    score = CONTENDERS[name].load(setup)
    score(setup.texts[:WARM_UP_TEXTS])

    def task() -> dict[str, Any]:
        labels, scores = score(setup.texts)
        return {"labels": labels.tolist(), "scores": scores.tolist()}

    return task


def _peak(setup: Setup) -> Task:
    from benchmarks.speed import peak

    return lambda: {"gflops": peak.measure(setup)}


def _measured(task: Task) -> dict[str, Any]:
    started, used = time.perf_counter(), _cpu_seconds()
    found = task()
    return {
        **found,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - used,
        "peak_rss_mb": _peak_rss_mb(),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_rss_mb() -> float:
    # Not ru_maxrss: that begins with what the process that started this one had.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
