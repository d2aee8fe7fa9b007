"""Which kernel attends within all rows of a ragged batch at once: those that work here.

That is found by trying on a few tokens: what a build lacks shows at once, whatever the reason.
"""

import logging
from typing import Any

import torch
from torch import Tensor

from worker.engine.varlen_kernels import (
    Side,
    Varlen,
    flash_attention,
    memory_efficient,
    torch_varlen,
)

logger = logging.getLogger(__name__)

# What a kernel raises that is absent, of another version or not made for the device or the shapes.
_UNUSABLE = (ImportError, AttributeError, TypeError, ValueError, RuntimeError)

# The best first.
KERNELS: dict[str, Varlen] = {"flash-attn": flash_attention, "torch varlen_attn": torch_varlen}
# The kernels above take 128 queries of a row at a time, most of them made up in short rows; the
# memory-efficient one takes 64, and half the time up to there.
FEW_QUERIES = 64


class ByLength:
    """One kernel for few queries in a row, another for more; see `Varlen`."""

    def __init__(self, few: Varlen, more: Varlen) -> None:
        self._few, self._more = few, more

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        queries: Side,
        keys: Side,
        *,
        scale: float | None,
        window: tuple[int, int],
    ) -> Tensor:
        """Attend as the kernel for the longest row does."""
        everywhere = window == (-1, -1) and query.shape[1] == key.shape[1]
        few = everywhere and queries.longest <= FEW_QUERIES
        kernel = self._few if few else self._more
        return kernel(query, key, value, queries, keys, scale=scale, window=window)


def choose_varlen(config: Any, device: torch.device, dtype: torch.dtype) -> Varlen | None:
    """Return the best kernel that works for a model, None when none does; says which in the log.

    Without one, rows of equal length attend together: exact in every precision, on every device.

    Args:
        config: Of the transformers model.
        device: Where it computes.
        dtype: In what.
    """
    if device.type != "cuda":
        return None
    heads = int(config.num_attention_heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    refused: list[str] = []
    for name, kernel in KERNELS.items():
        reason = _refusal(kernel, heads, key_heads, width, device, dtype)
        if reason is None:
            _tell(f"{name}, all texts of a batch at once", refused)
            if _refusal(memory_efficient, heads, key_heads, width, device, dtype) is None:
                return ByLength(memory_efficient, kernel)
            return kernel
        refused.append(f"{name}: {reason}")
    _tell("scaled_dot_product_attention, texts of equal length together", refused)
    return None


def _refusal(
    kernel: Varlen,
    heads: int,
    key_heads: int,
    width: int,
    device: torch.device,
    dtype: torch.dtype,
) -> str | None:
    """Return why a kernel is of no use here, None when it works."""
    try:
        if dtype not in (torch.float16, torch.bfloat16):
            raise TypeError(f"not made for {dtype}")
        _try(kernel, heads, key_heads, width, device, dtype)
    except _UNUSABLE as error:
        return str(error).partition("\n")[0][:200] or type(error).__name__
    return None


def _try(
    kernel: Varlen,
    heads: int,
    key_heads: int,
    width: int,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Attend within rows of one and two tokens; raises what the kernel raises."""
    rows = Side(offsets=torch.tensor([0, 1, 3], dtype=torch.int32, device=device), longest=2)
    query = torch.ones(3, heads, width, dtype=dtype, device=device)
    key = torch.ones(3, key_heads, width, dtype=dtype, device=device)
    with torch.inference_mode():
        mixed = kernel(query, key, key, rows, rows, scale=None, window=(-1, -1))
    if not bool((mixed == 1).all()):  # the mean of ones
        raise ValueError("it computes something else")


def _tell(chosen: str, refused: list[str]) -> None:
    logger.info(
        "attention by %s%s",
        chosen,
        f" ({'; '.join(refused)})" if refused else "",
        extra={"action": "attention_chosen"},
    )
