"""Attention keeps to its row, whichever way it is computed, and works with what a device has."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from support.dense_varlen import dense_varlen
from worker.engine import varlen
from worker.engine.attention import FULL, Pattern, attend, attend_from_first
from worker.engine.packed_batch import PackedBatch, Packing
from worker.engine.varlen import choose_varlen
from worker.engine.varlen_kernels import Varlen

CPU = torch.device("cpu")
# Pretended: nothing is computed there.
GPU = torch.device("cuda", 0)

lengths = st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=8)
patterns = st.builds(
    lambda causal, window: Pattern(causal=causal, window=window),
    st.booleans(),
    st.none() | st.integers(min_value=1, max_value=10),
)


def packed(lengths: list[int], kernel: Varlen | None = None) -> PackedBatch:
    return Packing(CPU, varlen=kernel)([np.zeros(n, dtype=np.int32) for n in lengths])


def random_inputs(tokens: int, heads: int, key_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(tokens)
    query, key, value = (
        torch.randn(tokens, count, 8, generator=random) for count in (heads, key_heads, key_heads)
    )
    return query, key, value


@settings(deadline=None)
@given(lengths, patterns, st.sampled_from([2, 4]), st.sampled_from([None, 0.5]))
def test_all_rows_at_once_attend_as_runs_of_equal_length_do(
    lengths: list[int], pattern: Pattern, key_heads: int, scale: float | None
) -> None:
    query, key, value = random_inputs(sum(lengths), 4, key_heads)

    by_runs, at_once = (
        attend(query, key, value, packed(lengths, kernel), pattern=pattern, scale=scale)
        for kernel in (None, dense_varlen)
    )

    torch.testing.assert_close(at_once, by_runs, atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(lengths)
def test_the_first_token_of_each_row_attends_to_all_of_it(lengths: list[int]) -> None:
    query, key, value = random_inputs(sum(lengths), 4, 4)
    batch = packed(lengths)
    expected = attend(query, key, value, batch, pattern=FULL)[batch.first]

    for kernel in (None, dense_varlen):
        found = attend_from_first(query[batch.first], key, value, packed(lengths, kernel))

        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(lengths, st.sampled_from([0, 2]))
def test_a_packed_batch_knows_first_and_last_tokens_and_positions(
    lengths: list[int], first_position: int
) -> None:
    rows = [np.arange(100, 100 + n, dtype=np.int32) for n in lengths]

    batch = Packing(CPU, first_position=first_position)(rows)

    assert batch.ids[batch.first].tolist() == [100] * len(rows)
    assert batch.ids[batch.last].tolist() == [100 + n - 1 for n in lengths]
    assert (batch.ids - batch.positions).unique().tolist() == [100 - first_position]
    assert batch.rows.longest == max(lengths)


CONFIG = SimpleNamespace(num_attention_heads=12, hidden_size=768)


class Kernels:
    """Kernels that are tried on tokens of this machine; each does what it is told, or refuses."""

    def __init__(self, patch: pytest.MonkeyPatch, **kernels: Exception | Varlen) -> None:
        self.shapes: list[tuple[int, ...]] = []
        patch.setattr(varlen, "KERNELS", {name: self._make(kernels[name]) for name in kernels})
        for make in ("ones", "tensor"):
            patch.setattr(torch, make, _on_cpu(getattr(torch, make)))

    def _make(self, answer: Any) -> Varlen:
        def kernel(query: Tensor, key: Tensor, *rest: Any, **options: Any) -> Tensor:
            self.shapes.append(tuple(key.shape))
            if isinstance(answer, Exception):
                raise answer
            found: Tensor = answer(query, key, *rest, **options)
            return found

        return kernel


def _on_cpu(make: Any) -> Any:
    return lambda *sizes, device, **options: make(*sizes, **options)


def test_the_best_kernel_that_works_is_chosen_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    refusal = RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nmore")
    kernels = Kernels(monkeypatch, first=refusal, second=dense_varlen)

    chosen = choose_varlen(CONFIG, GPU, torch.float16)

    assert chosen is varlen.KERNELS["second"]
    assert kernels.shapes == [(3, 12, 64)] * 2
    assert caplog.messages == [
        "attention by second, all texts of a batch at once "
        "(first: FlashAttention only supports Ampere GPUs or newer.)"
    ]


def test_a_kernel_is_tried_with_the_shapes_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch, only=dense_varlen)
    config = SimpleNamespace(num_attention_heads=8, num_key_value_heads=2, head_dim=256)

    assert choose_varlen(config, GPU, torch.bfloat16) is not None

    assert kernels.shapes == [(3, 2, 256)]


@pytest.mark.parametrize(
    "answer",
    [ImportError("No module named 'flash_attn'"), TypeError(), lambda query, *_, **__: query * 0.5],
    ids=["absent", "of another version", "wrong"],
)
def test_without_a_kernel_that_works_texts_of_equal_length_attend_together(
    answer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Kernels(monkeypatch, only=answer)

    assert choose_varlen(CONFIG, GPU, torch.float16) is None

    assert caplog.messages[0].startswith("attention by scaled_dot_product_attention")


def test_full_precision_is_not_for_the_kernels_of_half(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Kernels(monkeypatch, only=dense_varlen)

    assert choose_varlen(CONFIG, GPU, torch.float32) is None
    assert choose_varlen(CONFIG, CPU, torch.float16) is None
    assert kernels.shapes == []
