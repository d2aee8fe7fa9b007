"""What a GPU does in a benchmark: its limit, and how busy it is."""

import time
from collections.abc import Callable, Iterable

import torch

TOKENS = (4_096, 16_384, 65_536)
SECONDS = 1.0  # for each number of tokens; a GPU that has cooled down is a little faster at first


@torch.inference_mode()
def matrix_rate(
    shapes: Iterable[tuple[int, int]], dtype: torch.dtype, device: torch.device
) -> float:
    """Return FLOP/s of products of these widths in and out, the best over several sizes."""
    layers = [
        (wide, torch.randn(out, wide, dtype=dtype, device=device), 2 * wide * out)
        for wide, out in shapes
    ]
    sizes = TOKENS if device.type == "cuda" else TOKENS[:1]
    return max(_rate(tokens, layers, dtype, device) for tokens in sizes)


def _rate(
    tokens: int,
    layers: list[tuple[int, torch.Tensor, int]],
    dtype: torch.dtype,
    device: torch.device,
) -> float:
    products = [(torch.randn(tokens, wide, dtype=dtype, device=device), w) for wide, w, _ in layers]
    flops = tokens * sum(cost for *_, cost in layers)
    rounds, started = 0, _now(device)
    while (took := _now(device) - started) < SECONDS or rounds < 2:
        if rounds == 1:
            started = _now(device)  # the first was to warm up
        for x, weight in products:
            torch.nn.functional.linear(x, weight)
        rounds += 1
    return (rounds - 1) * flops / took


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def busy_share(run: Callable[[], object], device: torch.device) -> float | None:
    """Return the share of the time of `run` in which the GPU did something; None for a CPU."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = _now(device)
        run()
        seconds = _now(device) - started
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type.name == "CUDA"
    )
    busy, end = 0.0, 0.0
    for first, last in spans:
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    return busy / 1e6 / seconds
