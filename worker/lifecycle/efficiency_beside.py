"""Measures speed and memory of models side by side: each in a process of its own, turn by turn.

What else runs on the machine so slows one as much as the other, and nothing but the model counts
as its memory. `python -m worker.lifecycle.efficiency_beside`: what to measure comes as a line of
JSON on stdin, and then a line for each turn; stdout says when a turn may begin and has ended.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.errors import UnexpectedError
from schemas.model_files import pin_model
from schemas.storage import Storage
from worker.lifecycle.efficiency import efficiency_of
from worker.lifecycle.evaluation import Settings, loaded
from worker.model_store import ModelStore

_READY, _DONE = b"ready\n", b"done\n"

Efficiency = dict[str, Any]


def measure_beside(
    models: Sequence[tuple[Path, Settings]], cache_dir: Path, texts: Sequence[str]
) -> list[Efficiency]:
    """Return the fields of `Efficiency` of each model.

    Args:
        models: Folder of each, and how it scores.
        cache_dir: Where the files of models are kept.
        texts: As in `efficiency_of`.

    Raises:
        UnexpectedError: A process ended without its figures.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for folder, how in models:
            asked = {"folder": str(folder), "cache_dir": str(cache_dir), "how": asdict(how)}
            processes.append(_started(asked | {"texts": list(texts)}))
        found: dict[int, Efficiency] = {}
        while len(found) < len(models):
            for place in set(range(len(models))) - found.keys():
                figures = _turn(processes[place], models[place][0])
                if figures is not None:
                    found[place] = figures
        return [found[place] for place in range(len(models))]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _started(asked: dict[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    _send(process, json.dumps(asked).encode() + b"\n")
    return process


def _send(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is None:
        raise AssertionError("bug: started without a pipe")
    process.stdin.write(line)
    process.stdin.flush()


def _turn(process: subprocess.Popen[bytes], folder: Path) -> Efficiency | None:
    """Let a process measure once; return its figures if it has them all instead."""
    if process.stdout is None:
        raise AssertionError("bug: started without a pipe")
    line = process.stdout.readline()
    if line == _READY:
        _send(process, b"go\n")
        line = process.stdout.readline()
        if line == _DONE:
            return None
    if not line:
        raise UnexpectedError(f"measuring {folder} ended with {process.wait()}; see above")
    found: Efficiency = json.loads(line)
    return found


class _TurnClock:
    """Seconds for `efficiency_of`, which asks before and after what it measures."""

    def __init__(self) -> None:
        self._measures = False

    def __call__(self) -> float:
        """Return the time; before a measurement wait for the turn, after it give it away."""
        self._measures = not self._measures
        if self._measures:
            _say(_READY)
            sys.stdin.readline()
            return time.perf_counter()
        ended = time.perf_counter()
        _say(_DONE)
        return ended


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def main() -> None:
    """Measure what stdin says, and print it as JSON."""
    asked = json.loads(sys.stdin.readline())
    how, folder, storage = Settings(**asked["how"]), Path(asked["folder"]), Storage().for_own_files
    store = ModelStore(storage, Path(asked["cache_dir"]))
    model = loaded(store, pin_model(storage, str(folder)), how)
    found = efficiency_of(
        model, folder, asked["texts"], long_text=how.long_text, clock=_TurnClock()
    )
    _say(json.dumps(asdict(found)).encode() + b"\n")


if __name__ == "__main__":
    main()
