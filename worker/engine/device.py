"""The device a process computes on: which one, in what precision, with how many threads."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from schemas.errors import ConfigurationError
from schemas.job import Dtype
from schemas.processors import usable_processors
from schemas.signature import Agreement

# What the weights are loaded as; those of products are then rounded to int8 from fp32.
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.float32,
}

# A precision that gives so many texts the label of fp32 stands for fp32, if it was tried on enough.
SAME_LABELS = 0.995
ENOUGH_TEXTS = 500

# Tokens in a batch until a calibration has found the best number, see `worker.engine.calibrating`.
# On a CPU 1,000 to 8,000 are alike and 32,000 clearly slower, because the activations no longer fit
# the caches.
CPU_TOKEN_BUDGET = 4_096
# A GPU wants some ten thousand tokens to be busy; activations of this many take about 2 GB in a
# base-size encoder.
CUDA_TOKEN_BUDGET = 65_536
# How long a thread may keep the interpreter while another wants it, beside a GPU. To launch a batch
# takes some hundred calls, each of which gives the interpreter away: to wait Python's 5 ms for the
# thread that tokenizes, each time, would take longer than the batch.
SWITCH_SECONDS = 1e-4


def choose_device(wanted: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigurationError: There is no such device on this machine.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ConfigurationError(f"device {wanted!r}: use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(number or 0)
    if index >= count:
        raise ConfigurationError(
            f"device {wanted!r}: this machine has {count} CUDA devices that torch can use"
        )
    return torch.device("cuda", index)


def choose_dtype(
    wanted: Dtype, device: torch.device, recorded: Mapping[str, Agreement] | None = None
) -> Dtype:
    """Return the precision to compute in.

    `auto` is bf16 on a GPU that has it. On a CPU it is int8 or bf16 where the processor is made for
    it and the model is known to give there the labels of fp32, else fp32. What is recorded of a
    model can also speak against bf16 on a GPU.

    Args:
        wanted: What is asked for.
        device: Where it is computed.
        recorded: How far the model agrees with itself in fp32, by dtype.

    Raises:
        ConfigurationError: int8 is wanted, and the device cannot.
    """
    if wanted == "int8":
        _require_int8(device)
    if wanted != "auto":
        return wanted
    agreements = recorded or {}
    if device.type == "cuda":
        # Emulated bf16, which `is_bf16_supported` counts by default, would be slower than fp32.
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast and _agrees(agreements.get("bf16"), unknown=True) else "fp32"
    for dtype, fast in _FAST_ON_CPU.items():
        if fast() and _agrees(agreements.get(dtype), unknown=False):
            return dtype
    return "fp32"


def _agrees(found: Agreement | None, *, unknown: bool) -> bool:
    if found is None or found.texts < ENOUGH_TEXTS:
        return unknown
    return found.same >= SAME_LABELS


def _require_int8(device: torch.device) -> None:
    if device.type != "cpu":
        raise ConfigurationError(f"--dtype int8 is for CPUs, this is {device}: use bf16 or fp16")
    # Without these, oneDNN's products of bytes overflow in 16 bits.
    if not torch.cpu._is_vnni_supported():
        raise ConfigurationError(
            "--dtype int8 needs a CPU with instructions for products of bytes (AVX-512 VNNI): use "
            "fp32, or bf16 where the CPU has that"
        )


# What a CPU may be made for, the fastest first.
_FAST_ON_CPU: Mapping[Dtype, Callable[[], bool]] = {
    "int8": torch.cpu._is_vnni_supported,
    "bf16": torch.cpu._is_avx512_bf16_supported,
}


def choose_token_budget(wanted: int | None, device: torch.device) -> int:
    """Return the most tokens in a batch: as wanted, else the default of the device."""
    return wanted or (CUDA_TOKEN_BUDGET if device.type == "cuda" else CPU_TOKEN_BUDGET)


def set_threads(threads: int) -> None:
    """Give torch so many threads on the CPU.

    Args:
        threads: How many; 0 for `OMP_NUM_THREADS` where that is set, else one for each processor
            that this process may use, the CPU limit of its container considered.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    wanted = int(given) if given.isdecimal() else 0
    torch.set_num_threads(threads or wanted or usable_processors())


def launch_at_once() -> None:
    """Let the thread that launches work for a GPU have the interpreter as soon as it wants it."""
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))


def device_name(device: torch.device) -> str:
    """Return the model of GPU or processor, and of the latter how many threads are used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return str(torch.backends.cpu.get_cpu_capability())


def free_memory(device: torch.device) -> int:
    """Return the bytes of a GPU that tensors can still take."""
    free, _ = torch.cuda.mem_get_info(device)
    # What PyTorch holds without using it is free to us.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int]]:
    """Yield what returns the most bytes of a GPU that tensors took at once inside the block."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield lambda: torch.cuda.max_memory_allocated(device) - before
