"""What follows a product is computed with it, and is what the plain layers compute."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from worker.engine import gpu_linear
from worker.engine.gpu_linear import choose_add_norm
from worker.engine.linear import FUSED_ACTIVATIONS, make_linear

pytestmark = pytest.mark.gpu

# Of numbers around 1: two steps of a type, and the tanh for the erf of a gelu.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@pytest.mark.parametrize("dtype", sorted(TOLERANCE, key=str))
@pytest.mark.parametrize("rows", [1, 7, 5_000])
@pytest.mark.parametrize("activation", sorted(FUSED_ACTIVATIONS))
def test_layers_on_a_gpu_compute_what_plain_layers_do(
    activation: str, rows: int, dtype: torch.dtype, cuda: torch.device
) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(48, 32) for _ in range(3)]
    norm = nn.LayerNorm(96)
    nn.init.normal_(norm.weight)
    for module in (*layers, norm):
        module.to(dtype).requires_grad_(False)
    x, other = torch.randn(rows, 48).to(dtype), torch.randn(rows, 96).to(dtype)
    operation, algorithm = FUSED_ACTIVATIONS[activation]
    plain = torch.cat([layer.double()(x.double()) for layer in layers], dim=1)
    active = plain.relu() if operation == "relu" else F.gelu(plain, approximate=algorithm)
    normed = norm.double()(plain + other.double())

    made = make_linear([layer.to(cuda, dtype) for layer in layers], activation)
    there, more = x.to(cuda), other.to(cuda)
    with torch.inference_mode():
        found = (
            made(there),
            made.activated(there),
            made.added_normed(there, more, norm.to(cuda, dtype)),
        )

    for got, wanted in zip(found, (plain, active, normed), strict=True):
        bound = TOLERANCE[dtype]
        torch.testing.assert_close(got.double().cpu(), wanted, atol=bound, rtol=bound)


def test_sum_and_norm_are_one_kernel_where_a_compiler_is(cuda: torch.device) -> None:
    pytest.importorskip("triton", reason="torch.compile needs Triton on a GPU")

    assert choose_add_norm(cuda, torch.bfloat16, 64) is not gpu_linear._add_norm
