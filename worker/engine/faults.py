"""What an exception of torch says: no memory left, or a device that no longer works."""

import torch

from schemas.errors import DeviceFailed

# What a CPU, the CUDA driver and the CUDA libraries say where torch has no class of its own.
_OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_DEVICE_FAILED = ("CUDA error:", "cuDNN error:")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, of the device or of this machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _says(error, _OUT_OF_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """Say whether the device failed; after most such errors a process can use it no more."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.AcceleratorError) or _says(error, _DEVICE_FAILED)


def device_failed(device: str, error: BaseException) -> DeviceFailed:
    """Return our error for a failure of `device`."""
    reason = str(error).partition("\n")[0][:200]
    return DeviceFailed(f"{device} failed: {reason or type(error).__name__}")


def _says(error: RuntimeError, words: tuple[str, ...]) -> bool:
    message = str(error)
    return any(word in message for word in words)
