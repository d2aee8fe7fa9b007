"""What the steps of a layer take on a GPU, one by one, and with what follows them in one kernel.

    python -m benchmarks.gpu_kernels [--tokens 65536] [--dtype bf16]

The shape is BERT-base's. Times are medians of three, in microseconds; products also in TFLOP/s.
"""

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.speed.models import Shape
from benchmarks.speed.peak import shapes
from worker.engine.device import DTYPES
from worker.engine.gpu_linear import choose_add_norm
from worker.engine.varlen_kernels import Side, memory_efficient, torch_varlen

BERT_BASE = Shape(layers=12, width=768, inner=3_072, heads=12)
LENGTHS = (14, 30, 47, 64, 96, 128, 256, 388, 512)
EVERYWHERE = (-1, -1)
CALLS = 10

Step = Callable[[], object]


@torch.inference_mode()
def main() -> None:
    """Print what each step takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=65_536)
    parser.add_argument("--dtype", choices=("bf16", "fp16"), default="bf16")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"SKIPPED: no CUDA device that torch {torch.__version__} can use", file=sys.stderr)
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.tokens:,} tokens")
    torch.set_default_device("cuda")
    torch.set_default_dtype(DTYPES[options.dtype])
    for wide, out in shapes(BERT_BASE):
        flops = 2 * options.tokens * wide * out
        _print(f"{wide} x {out}", _products(options.tokens, wide, out), flops)
    _print("between products", _elementwise(options.tokens))
    for length in LENGTHS:
        flops = 4 * options.tokens * length * BERT_BASE.width
        _print(f"attention, {length} tokens a row", _attention(options.tokens, length), flops)


def _products(tokens: int, wide: int, out: int) -> dict[str, Step]:
    x, weight, bias = torch.randn(tokens, wide), torch.randn(out, wide), torch.randn(out)
    other = torch.randn(tokens, out)
    return {
        "product": lambda: F.linear(x, weight),
        "and bias": lambda: F.linear(x, weight, bias),
        "and bias, gelu": lambda: torch._addmm_activation(bias, x, weight.t(), use_gelu=True),
        "and another matrix": lambda: torch.addmm(other, x, weight.t()),
    }


def _elementwise(tokens: int) -> dict[str, Step]:
    width, inner = BERT_BASE.width, BERT_BASE.inner
    x, other, wide = (torch.randn(tokens, n) for n in (width, width, inner))
    weight, bias = torch.ones(width), torch.zeros(width)
    in_one = choose_add_norm(x.device, x.dtype, width)
    gelu = torch.compile(F.gelu, dynamic=True)
    return {
        "gelu": lambda: F.gelu(wide),
        "gelu, compiled": lambda: gelu(wide),
        "sum, norm": lambda: F.layer_norm(x + other, (width,), weight, bias, 1e-12),
        "sum and norm in one": lambda: in_one(x, other, weight, bias, 1e-12),
    }


def _attention(tokens: int, length: int) -> dict[str, Step]:
    rows, heads = tokens // length, BERT_BASE.heads
    packed = torch.randn(rows * length, 3 * BERT_BASE.width)
    query, key, value = (part.view(rows * length, heads, -1) for part in packed.chunk(3, dim=1))
    offsets = torch.arange(0, rows * length + 1, length, dtype=torch.int32)
    side = Side(offsets=offsets, longest=length)
    padded = [part.view(rows, length, heads, -1).transpose(1, 2) for part in (query, key, value)]

    def ragged(kernel: Callable[..., Tensor]) -> Step:
        return lambda: kernel(query, key, value, side, side, scale=None, window=EVERYWHERE)

    def equal(backend: SDPBackend) -> Step:
        def run() -> Tensor:
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(padded[0], padded[1], padded[2])

        return run

    return {
        "varlen_attn": ragged(torch_varlen),
        "memory-efficient": ragged(memory_efficient),
        "equal rows, flash": equal(SDPBackend.FLASH_ATTENTION),
        "equal rows, cuDNN": equal(SDPBackend.CUDNN_ATTENTION),
    }


def _print(name: str, steps: dict[str, Step], flops: int = 0) -> None:
    print(f"\n{name}")
    for step, run in steps.items():
        try:
            took = _microseconds(run)
        except (RuntimeError, TypeError) as error:
            print(f"  {step:<22} {str(error).partition(chr(10))[0][:80]}")
            continue
        rate = f"{flops / took / 1e6:>8,.0f} TFLOP/s" if flops else ""
        print(f"  {step:<22}{took:>9,.0f} us{rate}")


def _microseconds(run: Step) -> float:
    for _ in range(3):
        run()
    times = []
    for _ in range(3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(CALLS):
            run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / CALLS * 1_000)
    return statistics.median(times)


if __name__ == "__main__":
    main()
