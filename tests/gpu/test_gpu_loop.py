"""The host never waits in the middle, copies do not mix, and memory is given back."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from worker.engine import batched
from worker.engine.batched import BatchedEngine
from worker.engine.loading import load_engine
from worker.engine.transfer import CudaTransfer

pytestmark = pytest.mark.gpu

# Enough for the libraries' own workspaces, and far less than the batches of these tests would take.
SMALL_BYTES = 256 << 20


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("llama"), "llama")


def engine_of(folder: Path, **options: Any) -> BatchedEngine:
    pin = pin_model(Storage(), str(folder))
    return load_engine(folder, pin, device="cuda:0", **options)


def rows_of(count: int, longest: int = 120, seed: int = 0) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest + 1, count)
    return [random.integers(10, 300, n, dtype=np.int32) for n in lengths]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_two_batches_in_flight_give_exactly_what_one_gives(
    dtype: Any, cuda: torch.device, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(3_000)
    two = engine_of(bert, dtype=dtype, token_budget=1_000).forward(rows)
    monkeypatch.setattr(batched, "BATCHES_IN_FLIGHT", 1)

    one = engine_of(bert, dtype=dtype, token_budget=1_000).forward(rows)

    np.testing.assert_array_equal(two, one)


def test_numbers_arrive_whole_however_far_behind_the_device_is(cuda: torch.device) -> None:
    transfer = CudaTransfer(cuda)
    busy = torch.randn(4_096, 4_096, device=cuda)
    fetched = []

    for i in range(200):
        there = transfer.upload(np.full(50_000, i, dtype=np.int32))
        busy = (busy @ busy).clamp(-1, 1)  # the copies after this one overtake it
        fetched.append(transfer.fetch(there.view(1, -1).float() + 0 * busy[0, 0]))

    for i, numbers in enumerate(fetched):
        np.testing.assert_array_equal(numbers(), i)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("model", ["bert", "llama"])
def test_to_launch_a_batch_the_host_waits_for_nothing(
    model: str, cuda: torch.device, request: pytest.FixtureRequest
) -> None:
    if torch.cuda.get_device_capability(cuda) < (8, 0):
        pytest.skip("this GPU is older than Ampere")
    engine = engine_of(request.getfixturevalue(model), dtype="bf16", token_budget=1_000)
    rows = rows_of(500)
    expected = engine.forward(rows)  # once for what is made at first use

    try:
        torch.cuda.set_sync_debug_mode("error")
        found = engine.forward(rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    np.testing.assert_array_equal(found, expected)


def test_memory_does_not_grow_with_the_number_of_batches(cuda: torch.device, bert: Path) -> None:
    engine = engine_of(bert, dtype="bf16", token_budget=2_000)
    for seed in range(3):
        engine.forward(rows_of(2_000, seed=seed))
    before = torch.cuda.memory_allocated(cuda), torch.cuda.memory_reserved(cuda)

    for seed in range(3, 20):
        engine.forward(rows_of(2_000, seed=seed))

    after = torch.cuda.memory_allocated(cuda), torch.cuda.memory_reserved(cuda)
    assert after[0] <= before[0] + (1 << 20)
    assert after[1] <= before[1] * 1.25


@pytest.fixture
def small_memory(cuda: torch.device) -> Iterator[None]:
    """Let this process have little more of the GPU's memory than it holds now."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(cuda).total_memory
    limit = torch.cuda.memory_reserved(cuda) + SMALL_BYTES
    torch.cuda.set_per_process_memory_fraction(limit / total, cuda)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("model", ["bert", "llama"])
def test_batches_are_halved_until_they_fit_the_memory_of_the_gpu(
    model: str, small_memory: None, request: pytest.FixtureRequest
) -> None:
    folder, rows = request.getfixturevalue(model), rows_of(40_000)
    engine = engine_of(folder, dtype="bf16", token_budget=4_000_000)

    logits = engine.forward(rows)

    assert engine.token_budget < 4_000_000
    small = engine_of(folder, dtype="bf16", token_budget=4_000)
    np.testing.assert_allclose(logits, small.forward(rows), atol=0.1)
