"""The device a process computes on: which one, in what precision, with how many threads."""

import os

import torch

from schemas.errors import ConfigurationError
from schemas.job import Dtype

# What the weights are loaded as; those of products are then rounded to int8 from fp32.
DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.float32,
}

# Padded tokens in a batch. On a CPU 1,000 to 8,000 are alike and 32,000 clearly slower, because
# the activations no longer fit the caches.
CPU_TOKEN_BUDGET = 4_096
# A GPU wants some ten thousand tokens to be busy; activations of this many take about 1 GB in a
# base-size encoder. Not measured yet: a starting point.
CUDA_TOKEN_BUDGET = 32_768


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


def choose_dtype(wanted: Dtype, device: torch.device) -> Dtype:
    """Return the precision to compute in: `auto` is bf16 on a GPU that has it, else fp32.

    Raises:
        ConfigurationError: int8 is wanted, and the device cannot.
    """
    if wanted == "int8":
        _require_int8(device)
    if wanted != "auto":
        return wanted
    # Emulated bf16, which `is_bf16_supported` counts by default, would be slower than fp32.
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp32"


def _require_int8(device: torch.device) -> None:
    if device.type != "cpu":
        raise ConfigurationError(f"--dtype int8 is for CPUs, this is {device}: use bf16 or fp16")
    # Without these, oneDNN's products of bytes overflow in 16 bits.
    if not torch.cpu._is_vnni_supported():
        raise ConfigurationError(
            "--dtype int8 needs a CPU with instructions for products of bytes (AVX-512 VNNI): use "
            "fp32, or bf16 where the CPU has that"
        )


def choose_token_budget(wanted: int | None, device: torch.device) -> int:
    """Return the most padded tokens in a batch: as wanted, else the default of the device."""
    return wanted or (CUDA_TOKEN_BUDGET if device.type == "cuda" else CPU_TOKEN_BUDGET)


def set_threads(threads: int) -> None:
    """Give torch this many threads on the CPU; 0 for one per core this process may use."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
