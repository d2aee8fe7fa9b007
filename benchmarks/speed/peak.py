"""The limit: what the processor does in nothing but matrix products of the model's shapes.

The products are oneDNN's, with weights laid out for it once, as fast as they come from PyTorch:
for each of the four layers' shapes, over several numbers of tokens, of which the best counts.
"""

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed.figures import Precision
from benchmarks.speed.models import Shape, shape_of
from benchmarks.speed.setup import Setup

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
TOKENS = (256, 512, 1_024, 2_048, 4_096)
SECONDS = 0.25  # for each number of tokens

# Computes one product.
Product = Callable[[], object]


def measure(setup: Setup) -> dict[str, float]:
    """Return the best rate in each precision the processor has, in GFLOP/s."""
    torch.set_num_threads(setup.threads)
    shape = shape_of(setup.model)
    rates: dict[str, float] = {}
    for precision in PRECISIONS:
        if _computes(precision):
            rates[precision] = max(_rate(shape, tokens, precision) for tokens in TOKENS)
    return rates


def shapes(shape: Shape) -> tuple[tuple[int, int], ...]:
    """Return width in and width out of the products of a layer, query to value in one."""
    width, inner = shape.width, shape.inner
    return (width, 3 * width), (width, width), (width, inner), (inner, width)


@torch.inference_mode()
def _rate(shape: Shape, tokens: int, precision: Precision) -> float:
    """Return GFLOP/s of the products of a layer, over and over."""
    products = [_PRODUCTS[precision](tokens, *widths) for widths in shapes(shape)]
    flops = sum(2 * tokens * wide * out for wide, out in shapes(shape))
    for product in products:
        product()
    rounds, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < SECONDS:
        for product in products:
            product()
        rounds += 1
    return rounds * flops / took / 1e9


def _computes(precision: Precision) -> bool:
    if not torch._C._has_mkldnn:
        return False
    return precision != "bf16" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _floating(dtype: torch.dtype) -> Callable[[int, int, int], Product]:
    def make(tokens: int, width: int, out: int) -> Product:
        x = torch.randn(tokens, width).to(dtype)
        weight = torch.randn(out, width).to(dtype)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, tokens)
        run: Any = torch.ops.mkldnn._linear_pointwise
        return lambda: run(x, laid_out, None, "none", [], "")

    return make


def _int8(tokens: int, width: int, out: int) -> Product:
    x = torch.randint(0, 255, (tokens, width), dtype=torch.uint8)
    weight = torch.randint(-127, 127, (out, width), dtype=torch.int8)
    ops: Any = torch.ops.onednn
    laid_out = ops.qlinear_prepack(weight, [tokens, width])
    scales, zeros = torch.full((out,), 0.01), torch.zeros(out, dtype=torch.int32)
    return lambda: ops.qlinear_pointwise(
        x, 0.01, 128, laid_out, scales, zeros, None, 0.1, 128, torch.uint8, "none", [], ""
    )


_PRODUCTS: dict[Precision, Callable[[int, int, int], Product]] = {
    "fp32": _floating(torch.float32),
    "bf16": _floating(torch.bfloat16),
    "int8": _int8,
}
