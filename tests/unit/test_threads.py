"""How many threads PyTorch gets, and how they wait."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from producer.local import worker_environment
from worker.engine.device import set_threads

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def three_processors(monkeypatch: Patch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for module in ("worker.engine.device", "producer.local"):
        monkeypatch.setattr(f"{module}.usable_processors", lambda: 3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "variable", "threads"),
    [(0, None, 3), (0, "2", 2), (0, "4,1", 4), (0, "many", 3), (0, "0", 3), (5, "2", 5)],
)
def test_threads_are_as_asked_else_as_openmp_is_told_else_one_per_processor(
    monkeypatch: Patch, asked: int, variable: str | None, threads: int
) -> None:
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)

    set_threads(asked)

    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("workers", "given", "threads"),
    [
        (1, {}, None),
        (2, {}, "1"),
        (9, {}, "1"),
        (2, {"BULKSCORE_TORCH_THREADS": "4"}, None),
        (2, {"OMP_NUM_THREADS": "4"}, None),
    ],
)
def test_workers_of_one_machine_share_its_processors_unless_told_otherwise(
    workers: int, given: dict[str, str], threads: str | None
) -> None:
    changes = worker_environment("redis://broker", workers, given)

    assert changes.get("BULKSCORE_TORCH_THREADS") == threads


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
    ],
)
def test_idle_threads_of_a_worker_soon_leave_the_processor_unless_told_otherwise(
    given: dict[str, str], spins: str
) -> None:
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", "import os, worker; print(os.environ.get('GOMP_SPINCOUNT'))"],
        env={**bare, **given},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == spins
