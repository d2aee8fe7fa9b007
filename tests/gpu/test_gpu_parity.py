"""On a GPU every row gets the logits that transformers gives it alone, on the CPU in fp32."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from schemas.job import Dtype
from schemas.model_families import FAMILIES
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.data import require_data
from support.dense_varlen import dense_varlen
from support.families import save_tiny_classifier
from support.minilm import minilm_sst2
from worker.engine import varlen
from worker.engine.batched import BatchedEngine
from worker.engine.loading import load_engine
from worker.engine.varlen import choose_varlen
from worker.engine.varlen_kernels import Side, memory_efficient
from worker.tokenizer import Tokenizer

pytestmark = pytest.mark.gpu

HALF: tuple[Dtype, ...] = ("bf16", "fp16")
TOLERANCE = {"fp32": 1e-4, "bf16": 0.15, "fp16": 0.02}

SaveModel = Callable[[str], Path]


@pytest.fixture(scope="module")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    """Save a tiny classifier of a family, once."""
    saved: dict[str, Path] = {}

    def save(model_type: str) -> Path:
        if model_type not in saved:
            saved[model_type] = save_tiny_classifier(tmp_path_factory.mktemp("m"), model_type)
        return saved[model_type]

    return save


def engine_of(folder: Path, **options: object) -> BatchedEngine:
    pin = pin_model(Storage(), str(folder))
    return load_engine(folder, pin, device="cuda:0", **options)  # type: ignore[arg-type]


KERNELS = {**varlen.KERNELS, "memory-efficient": memory_efficient}


def rows_of(lengths: list[int], vocabulary: int = 300) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(0)
    return [random.integers(10, vocabulary, n, dtype=np.int32) for n in lengths]


ROWS = rows_of([100, 100, 64, 17, 17, 17, 5, 1, 90, 33, 2, 64])


def plain(folder: Path, rows: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    """Return what transformers says of each row alone, on the CPU in fp32."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = [model(torch.from_numpy(row.astype(np.int64))[None]).logits[0] for row in rows]
    return torch.stack(found).float().numpy()


def assert_same_labels(
    found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float
) -> None:
    """Compare the labels of rows that are no tie within the tolerance."""
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * tolerance
    assert clear.any()
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


@pytest.mark.parametrize("dtype", ["fp32", *HALF])
@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_gives_the_logits_of_transformers(
    model_type: str, dtype: Dtype, cuda: torch.device, save_model: SaveModel
) -> None:
    if dtype in HALF and not FAMILIES[model_type].half_precision:
        pytest.skip(f"{model_type} computes in fp32 alone")
    folder = save_model(model_type)

    logits = engine_of(folder, dtype=dtype, token_budget=256).forward(ROWS)

    expected = plain(folder, ROWS)
    assert expected.std() > 0.05  # else agreement would prove nothing
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE[dtype])
    assert_same_labels(logits, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("model_type", ["bert", "modernbert", "llama", "deberta-v2"])
def test_a_row_scores_the_same_alone_and_among_others(
    model_type: str, dtype: Dtype, cuda: torch.device, save_model: SaveModel
) -> None:
    engine = engine_of(save_model(model_type), dtype=dtype, token_budget=4_096)

    together = engine.forward(ROWS)

    alone = np.concatenate([engine.forward([row]) for row in ROWS])
    np.testing.assert_allclose(together, alone, atol=TOLERANCE[dtype] / 2)


def test_gpus_since_ampere_attend_to_all_rows_at_once(cuda: torch.device) -> None:
    if torch.cuda.get_device_capability(cuda) < (8, 0):
        pytest.skip("this GPU is older than Ampere")
    config = SimpleNamespace(num_attention_heads=12, hidden_size=768)

    assert choose_varlen(config, cuda, torch.bfloat16) is not None


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (3, 3), (3, 0)])
@pytest.mark.parametrize("key_heads", [2, 4])
def test_a_kernel_for_ragged_batches_attends_as_plain_attention_does(
    name: str, window: tuple[int, int], key_heads: int, cuda: torch.device
) -> None:
    if name == "flash-attn":
        pytest.importorskip("flash_attn", reason="flash-attn is not installed")
    offsets = torch.tensor([0, 9, 14, 14, 15], dtype=torch.int32)
    random = torch.Generator().manual_seed(0)
    query = torch.randn(15, 4, 64, generator=random)
    key, value = torch.randn(2, 15, key_heads, 64, generator=random).unbind()

    expected = dense_varlen(*_sides(query, key, value, offsets), scale=0.2, window=window)
    there = _sides(*(x.to(cuda, torch.float16) for x in (query, key, value)), offsets.to(cuda))
    try:
        found = KERNELS[name](*there, scale=0.2, window=window)
    except (TypeError, ValueError) as error:
        pytest.skip(f"{name}: {error}")

    torch.testing.assert_close(found.float().cpu(), expected, atol=5e-3, rtol=5e-3)


def _sides(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor, Side, Side]:
    query, key, value, offsets = tensors
    side = Side(offsets=offsets, longest=9)
    return query, key, value, side, side


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_keeps_the_labels_of_a_trained_model(
    dtype: Dtype, cuda: torch.device
) -> None:
    folder = minilm_sst2()
    pin = pin_model(Storage(), str(folder))
    with require_data("sst2/test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row[0] for row in csv.reader(file)]
    rows = Tokenizer(folder, pin.max_length).encode(texts).ids
    expected = load_engine(folder, pin, device="cpu", dtype="fp32").forward(rows)

    found = engine_of(folder, dtype=dtype).forward(rows)

    agreement = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    assert agreement >= 0.995
