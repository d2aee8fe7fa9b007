"""What travels between this machine and a device, beside the work that the device is at.

Nothing here makes the host wait for the device but the last step, asking for numbers that were
fetched. Host memory for copies is PyTorch's own: its caching allocator of pinned memory gives a
block away again only after the copies that use it are done, so buffers need no bookkeeping.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Gives what was fetched, float32 [rows, labels]; waits for the device until it is there.
Fetched = Callable[[], NDArray[np.float32]]


class Transfer(Protocol):
    """A way to a device and back."""

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        """Return `numbers` on the device; they may not change afterwards."""

    def fetch(self, logits: Tensor) -> Fetched:
        """Begin to fetch logits [rows, labels], however long the device needs to compute them."""


class HostTransfer:
    """To the device that needs no copies: the processor itself."""

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        """Return a tensor over the same memory."""
        return torch.from_numpy(numbers)

    def fetch(self, logits: Tensor) -> Fetched:
        """Return what gives the logits, which are there already."""
        found: NDArray[np.float32] = logits.float().numpy()
        return lambda: found


class CudaTransfer:
    """To a GPU: copies through pinned memory, those to the device on a stream of their own.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        """Copy while the device computes; what is launched next waits for it, the host does not."""
        pinned = torch.from_numpy(numbers).pin_memory()
        with torch.cuda.stream(self._copies):
            there = pinned.to(self._device, non_blocking=True)
        work = torch.cuda.current_stream(self._device)
        work.wait_stream(self._copies)
        there.record_stream(work)  # else its memory could be used again for the next copy
        return there

    def fetch(self, logits: Tensor) -> Fetched:
        """Have the logits copied as soon as they are computed, before what is launched next."""
        here = torch.empty(logits.shape, dtype=torch.float32, pin_memory=True)
        here.copy_(logits.float(), non_blocking=True)
        # One that sleeps instead of spinning: the core is for the tokenizer.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self._device))

        def numbers() -> NDArray[np.float32]:
            done.synchronize()
            return here.numpy()

        return numbers


def transfer_to(device: torch.device) -> Transfer:
    """Return the way to this device."""
    return CudaTransfer(device) if device.type == "cuda" else HostTransfer()
