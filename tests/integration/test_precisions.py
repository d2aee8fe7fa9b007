"""bf16 and int8 keep to fp32: labels agree on real texts, and no row looks at those beside it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from schemas.errors import ConfigurationError, UsageError
from schemas.job import Dtype
from schemas.model_families import FUSED
from schemas.model_files import pin_model, require_precision
from schemas.storage import Storage
from support.data import require_data
from support.families import save_tiny_classifier
from support.minilm import TRAINING_SECONDS, minilm_sst2
from worker.engine import Engine
from worker.engine.linear import FUSED_ACTIVATIONS, make_linear
from worker.engine.loading import load_engine
from worker.engine.products import attend_by_products
from worker.tokenizer import Tokenizer

Load = Callable[..., Engine]

needs_bytes = pytest.mark.skipif(
    not torch.cpu._is_vnni_supported(), reason="this CPU has no products of bytes (VNNI)"
)


@pytest.fixture
def engine_of(tmp_path: Path) -> Load:
    """Load the engine of a tiny model."""

    def load(model_type: str, dtype: Dtype, **config: Any) -> Engine:
        shutil.rmtree(tmp_path)
        save_tiny_classifier(tmp_path, model_type, **config)
        return loaded(tmp_path, dtype)

    return load


def loaded(folder: Path, dtype: Dtype) -> Engine:
    pin = pin_model(Storage(), str(folder))
    return load_engine(folder, pin, device="cpu", dtype=dtype, threads=1)


def rows_of(lengths: list[int]) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(0)
    return [random.integers(10, 300, n, dtype=np.int32) for n in lengths]


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = torch.from_numpy(logits).softmax(1).numpy()
    return found


@needs_bytes
@pytest.mark.parametrize("activation", sorted(FUSED_ACTIVATIONS))
@pytest.mark.parametrize("rows", [1, 7, 1_300])
def test_a_layer_in_bytes_is_the_plain_layer_but_for_rounding(rows: int, activation: str) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(96, 64) for _ in range(3)]
    x, other = torch.randn(rows, 96), torch.randn(rows, 192)
    x[:, 3] *= 5  # a token's scale follows its largest number
    operation, algorithm = FUSED_ACTIVATIONS[activation]
    norm = nn.LayerNorm(192)
    nn.init.normal_(norm.weight)
    with torch.inference_mode():
        expected = torch.cat([layer(x) for layer in layers], dim=1)
        active = expected.relu() if operation == "relu" else F.gelu(expected, approximate=algorithm)
        made = make_linear(layers, activation, int8=True)
        found = made(x).float(), made.activated(x), made.added_normed(x, other, norm)

    for got, wanted in zip(found, (expected, active, norm(expected + other)), strict=True):
        assert (got - wanted).norm() / wanted.norm() < 0.03
        torch.testing.assert_close(got, wanted, atol=0.1, rtol=0.02)


@needs_bytes
def test_a_token_of_zeros_gives_the_bias() -> None:
    layer = nn.Linear(8, 8)
    with torch.inference_mode():
        made = make_linear([layer], "gelu", int8=True)
        found = made.activated(torch.zeros(2, 8))

    torch.testing.assert_close(found, F.gelu(layer.bias.detach()).expand(2, 8))


@needs_bytes
@pytest.mark.parametrize("model_type", sorted(FUSED))
def test_each_family_with_fused_steps_stays_near_itself_in_bytes(
    model_type: str, engine_of: Load
) -> None:
    rows = rows_of([100, 64, 64, 17, 17, 5, 1])
    expected = engine_of(model_type, "fp32").forward(rows)

    found = engine_of(model_type, "int8").forward(rows)

    assert expected.std() > 0.05
    assert np.abs(found - expected).max() > 1e-6  # it is not fp32 that ran
    assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


@needs_bytes
@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_a_row_gets_what_it_gets_alone(dtype: Dtype, engine_of: Load) -> None:
    engine = engine_of("bert", dtype)
    rows = rows_of([120, 90, 90, 33, 33, 33, 12, 3])
    alone = np.concatenate([engine.forward([row]) for row in rows])

    together = engine.forward(rows)

    np.testing.assert_allclose(together, alone, atol=0.02)


@needs_bytes
def test_a_family_without_fused_steps_is_refused_in_bytes(engine_of: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="use --dtype bf16 or fp32"):
        engine_of("gpt2", "int8")
    with pytest.raises(UsageError, match=r"gpt2.*use bf16 or fp32"):
        require_precision(pin_model(Storage(), str(tmp_path)), "int8")


@needs_bytes
def test_an_activation_without_a_fused_form_is_refused_in_bytes(engine_of: Load) -> None:
    with pytest.raises(ConfigurationError, match="cannot be computed in int8"):
        engine_of("bert", "int8", hidden_act="silu")


@pytest.mark.parametrize("length", [1, 2, 47, 130, 512])
def test_attention_by_products_is_that_of_pytorch(length: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 12, length, 32).bfloat16() for _ in range(3))
    with torch.inference_mode():
        expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), scale=0.3)
        found = attend_by_products(q, k, v, scale=0.3)

    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("size", [200.0, -200.0])
def test_attention_to_products_beyond_the_range_of_powers_is_that_of_pytorch(size: float) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, 20, 16).bfloat16() for _ in range(3))
    query[1], key[1, ..., 0] = 0, size  # all products of the second row are equal, and enormous
    query[1, ..., 0] = 4
    with torch.inference_mode():
        expected = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
        found = attend_by_products(query, key, value, None)

    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)


@needs_bytes
@pytest.mark.timeout(TRAINING_SECONDS + 300)
@pytest.mark.parametrize(("dtype", "agreement"), [("bf16", 0.995), ("int8", 0.99)])
def test_a_trained_classifier_gives_real_texts_the_labels_of_fp32(
    dtype: Dtype, agreement: float
) -> None:
    folder = minilm_sst2()
    table = pl.read_csv(require_data("sst2/test.csv"), has_header=False)
    rows = Tokenizer(folder, 128).encode(table["column_0"].to_list()).ids
    expected = loaded(folder, "fp32").forward(rows)

    found = loaded(folder, dtype).forward(rows)

    same = float((found.argmax(1) == expected.argmax(1)).mean())
    largest = float(np.abs(probabilities(found) - probabilities(expected)).max())
    print(f"{dtype}: {same:.2%} of {len(rows)} labels, largest difference of a score {largest:.3f}")
    assert same >= agreement
    assert largest < 0.2
