"""Linear layers on a GPU, with what follows them in as few passes over memory as there are.

cuBLAS adds bias and activation before a result leaves the registers. What is added and normalized
afterwards is one kernel of `torch.compile`; where that does not work, for want of a C compiler say,
it is PyTorch's own two.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Takes x and other [tokens, width], weight and bias of the norm [width], and its epsilon.
AddNorm = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]

# How a kernel is launched is chosen at its first call, so that one is of a typical size.
_TYPICAL_TOKENS = 16_384


class GpuLinear:
    """x → x·Wᵀ + b for x [tokens, width in]; see `worker.engine.linear.Linear`.

    Args:
        weight: [width out, width in], on the GPU.
        bias: [width out].
        operation: The activation, `gelu` or `relu`.
        algorithm: Of the gelu, `none` or `tanh`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, operation: str, algorithm: str) -> None:
        self._weight, self._bias = weight, bias
        self._operation, self._algorithm = operation, algorithm
        # cuBLAS knows the gelu of tanh alone. It is at most 5e-4 from that of erf, far less than
        # the steps of bf16 between the numbers that count (8e-3 above 1).
        rounded = algorithm == "tanh" or weight.dtype == torch.bfloat16
        self._in_one = operation == "relu" or rounded

    def __call__(self, x: Tensor) -> Tensor:
        """Return [tokens, width out]."""
        return F.linear(x, self._weight, self._bias)

    def activated(self, x: Tensor) -> Tensor:
        """Return the same through the activation."""
        if not self._in_one:
            return F.gelu(self(x), approximate=self._algorithm)
        gelu = self._operation == "gelu"
        return torch._addmm_activation(self._bias, x, self._weight.t(), use_gelu=gelu)

    def added_normed(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return the same plus `other` [tokens, width out], normalized."""
        y = self(x)
        add_norm = choose_add_norm(y.device, y.dtype, y.shape[1])
        return add_norm(y, other, norm.weight, norm.bias, norm.eps)


@cache
def choose_add_norm(device: torch.device, dtype: torch.dtype, width: int) -> AddNorm:
    """Return the one kernel for sum and norm, or the two of PyTorch where it does not work."""
    # For one small kernel no processes that compile, which would live as long as this one.
    options: dict[str, Any] = {"compile_threads": 1}
    compiled: AddNorm = torch.compile(_add_norm, dynamic=True, options=options)
    x = torch.ones(_TYPICAL_TOKENS, width, dtype=dtype, device=device)
    try:
        compiled(x, x, x[0], x[0], 1e-12)
    except Exception as error:  # of the compiler below, which differ by release
        reason = str(error).partition("\n")[0][:200]
        logger.info(
            "sum and norm in two kernels: %s: %s",
            type(error).__name__,
            reason,
            extra={"action": "kernel_chosen"},
        )
        return _add_norm
    return compiled


def _add_norm(x: Tensor, other: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return F.layer_norm(x + other, weight.shape, weight, bias, epsilon)
