"""Linear layers with what follows them computed in the same pass.

On a CPU the products are oneDNN's, whose weights are laid out for it once and which adds bias,
activation or residual before a result leaves the registers. The operators are PyTorch's own but
not public (inductor uses them), so torch is pinned and a test compares them with the plain layer.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.engine.gpu_linear import GpuLinear
from worker.engine.int8 import Int8Linear

# Activations by their names in config.json, as oneDNN calls them: operation and algorithm.
FUSED_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
# Rows the layout of the weights is made for; other numbers work as well.
_TYPICAL_ROWS = 4_096


class Linear(Protocol):
    """x → x·Wᵀ + b for x [tokens, width in], and the same with something behind it."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return [tokens, width out]."""

    def activated(self, x: Tensor) -> Tensor:
        """Return the same through the activation."""

    def added_normed(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return the same plus `other` [tokens, width out], normalized."""


def make_linear(layers: Sequence[nn.Linear], activation: str, *, int8: bool = False) -> Linear:
    """Return one layer that computes several side by side, [width out] being the sum of theirs.

    Args:
        layers: Of equal width in.
        activation: One of `FUSED_ACTIVATIONS`.
        int8: Whether to compute in 8 bits, on a CPU; a call then returns `int8_attention_dtype`.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers])
    bias = torch.cat([layer.bias.detach() for layer in layers])
    if int8:
        return Int8Linear(weight, bias, *FUSED_ACTIVATIONS[activation], int8_attention_dtype())
    if weight.device.type == "cuda":
        return GpuLinear(weight, bias, *FUSED_ACTIVATIONS[activation])
    if _onednn_computes(weight.dtype):
        return _OneDnnLinear(weight, bias, activation)
    return _PlainLinear(weight, bias, activation)


def int8_attention_dtype() -> torch.dtype:
    """Return what attention between layers in 8 bits computes in: bf16 where it is fast."""
    fast = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def _onednn_computes(dtype: torch.dtype) -> bool:
    if not torch._C._has_mkldnn:
        return False
    ops: Any = torch.ops.mkldnn
    if dtype == torch.bfloat16:
        return bool(ops._is_mkldnn_bf16_supported())
    return dtype == torch.float32


class _PlainLinear:
    def __init__(self, weight: Tensor, bias: Tensor, activation: str) -> None:
        self._weight, self._bias = weight, bias
        self._operation, self._algorithm = FUSED_ACTIVATIONS[activation]

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)

    def activated(self, x: Tensor) -> Tensor:
        y = self(x)
        return y.relu_() if self._operation == "relu" else F.gelu(y, approximate=self._algorithm)

    def added_normed(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        normed: Tensor = norm(self(x).add_(other))
        return normed


class _OneDnnLinear:
    def __init__(self, weight: Tensor, bias: Tensor, activation: str) -> None:
        ops: Any = torch.ops.mkldnn
        self._run, self._run_binary = ops._linear_pointwise, ops._linear_pointwise.binary
        self._weight = ops._reorder_linear_weight(weight, _TYPICAL_ROWS)
        self._bias = bias
        self._operation, self._algorithm = FUSED_ACTIVATIONS[activation]

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self._run(x, self._weight, self._bias, "none", [], "")
        return y

    def activated(self, x: Tensor) -> Tensor:
        y: Tensor = self._run(x, self._weight, self._bias, self._operation, [], self._algorithm)
        return y

    def added_normed(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        y: Tensor = norm(self._run_binary(x, other, self._weight, self._bias, "add"))
        return y
