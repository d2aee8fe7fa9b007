"""Linear layers in 8 bits: weights rounded once, activations as they come, each token by itself.

The weights of an output have a scale of their own, and so has each token, made of its largest
number: what a row gets does not depend on the rows beside it, and no sample of texts is needed to
find scales. oneDNN multiplies unsigned with signed bytes, so that a token's zero is 128.

The operators are PyTorch's own but not public (inductor uses them); torch is pinned and a test
compares them with the plain layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TOKENS = 512
_ZERO, _LARGEST = 128, 127
# Keeps a token, or an output, of zeros alone from being divided by zero.
_SMALLEST = 1e-30


class Int8Linear:
    """x → x·Wᵀ + b for x [tokens, width in], in 8 bits; see `worker.engine.linear.Linear`.

    Args:
        weight: float32 [width out, width in].
        bias: float32 [width out].
        operation: The activation, `gelu` or `relu`.
        algorithm: Of the gelu, `none` or `tanh`.
        dtype: Of what a call returns; the other methods return float32.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, operation: str, algorithm: str, dtype: torch.dtype
    ) -> None:
        self._scale = weight.abs().amax(dim=1).clamp_min(_SMALLEST) / _LARGEST
        rounded = (weight / self._scale[:, None]).round().to(torch.int8)
        ops: Any = torch.ops.onednn
        self._multiply = ops.qlinear_pointwise
        self._weight = ops.qlinear_prepack(rounded, [_TOKENS, weight.shape[1]])
        self._zeros = torch.zeros(len(bias), dtype=torch.int32)
        self._bias = bias
        self._operation, self._algorithm = operation, algorithm
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        """Return [tokens, width out]."""
        out = torch.empty(len(x), len(self._bias), dtype=self._dtype)
        for some, place in zip(torch.split(x, _TOKENS), torch.split(out, _TOKENS), strict=True):
            torch.addcmul(self._bias, *self._product(some), out=place)
        return out

    def activated(self, x: Tensor) -> Tensor:
        """Return the same through the activation."""
        product, scale = self._product(x)
        y = torch.addcmul(self._bias, product, scale, out=product)
        if self._operation == "relu":
            return y.relu_()
        return F.gelu(y, approximate=self._algorithm)

    def added_normed(self, x: Tensor, other: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return the same plus `other` [tokens, width out], normalized."""
        product, scale = self._product(x)
        y: Tensor = norm(torch.addcmul(other, product, scale, out=product).add_(self._bias))
        return y

    def _product(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the product with the weights, and the factor of each token [tokens, 1]."""
        x = x.float()
        scale = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True))
        scale = scale.clamp_min_(_SMALLEST).div_(_LARGEST)
        # Half up, by cutting off. By way of int16: the direct way to bytes is ten times as slow.
        shifted = torch.addcmul(x.new_tensor(_ZERO + 0.5), x, scale.reciprocal())
        rounded = shifted.to(torch.int16).to(torch.uint8)
        product: Tensor = self._multiply(
            rounded, 1.0, _ZERO, self._weight, self._scale, self._zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product, scale
