"""What processes and servers hold, looked at again and again: memory, descriptors, connections."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load_stack import LoadStack

# Of Redis' own figures; `used_memory` is what the data take, in bytes.
REDIS = ("used_memory", "used_memory_peak", "connected_clients")
Sample = dict[str, float]


class Sampler:
    """Takes a sample every few seconds until it is stopped, and keeps each in a file of lines."""

    def __init__(self, stack: LoadStack, file: Path, every_seconds: float) -> None:
        self._stack, self._file, self._every = stack, file, every_seconds
        self._stop, self._began = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self.samples: list[Sample] = []
        self.progress: Callable[[], Mapping[str, float]] = dict

    def __enter__(self) -> "Sampler":
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, after a last sample."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.take()
        self.take()

    def take(self) -> None:
        """Take a sample now."""
        seconds = round(time.monotonic() - self._began, 1)
        sample = {"seconds": seconds, **take(self._stack), **self.progress()}
        self.samples.append(sample)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(sample) + "\n")


def take(stack: LoadStack) -> Sample:
    """Return one sample; memory is in bytes, of each worker's processes together."""
    sample: Sample = {}
    for number, worker in enumerate(stack.workers):
        sample |= _held(f"worker-{number}", psutil.Process(worker.pid))
    sample |= _held("producer", psutil.Process(), alone=True)
    sample |= _held("redis", psutil.Process(stack.redis.pid))
    with stack.redis.client() as client:
        info: Any = client.info()
        users: Any = Counter(entry["user"] for entry in client.client_list())
    sample |= {f"redis {name}": float(info[name]) for name in REDIS}
    sample |= {f"redis connections of {user}": float(users[user]) for user in ("worker",)}
    return sample


def _held(name: str, top: psutil.Process, *, alone: bool = False) -> Sample:
    processes = [top] if alone else [top, *top.children(recursive=True)]
    held: Counter[str] = Counter()
    for process in processes:
        try:
            held["rss"] += process.memory_info().rss
            held["descriptors"] += process.num_fds()
            held["threads"] += process.num_threads()
        except psutil.NoSuchProcess:  # a child that has just ended
            continue
    return {f"{name} {what}": float(amount) for what, amount in held.items()}
