"""Kernels that attend within all rows of a ragged batch at once, and which of them works here.

They are made for half precision on GPUs, each for some generations and widths of heads. Which one
to use is found by trying on a few tokens: what a build lacks shows at once, whatever the reason.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# What a kernel raises that is absent, of another version or not made for the device or the shapes.
_UNUSABLE = (ImportError, AttributeError, TypeError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The rows of queries, or of keys and values.

    Attributes:
        offsets: int32 [rows + 1], place of each row's first token, and the end.
        longest: Tokens of the longest row, or more.
    """

    offsets: Tensor
    longest: int


class Varlen(Protocol):
    """Attention of each row of queries to the keys of the same row."""

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
        """Return [query tokens, heads, width].

        Args:
            query: [query tokens, heads, width].
            key: [tokens, key heads, width]; heads are a multiple of key heads.
            value: [tokens, key heads, width].
            queries: The rows of `query`.
            keys: The rows of `key` and `value`, as many.
            scale: Factor of the products; 1/√width when None.
            window: How many tokens before and after itself a token looks at; -1 for all.
        """


def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Side,
    keys: Side,
    *,
    scale: float | None,
    window: tuple[int, int],
) -> Tensor:
    """Attend with the kernel of the package flash-attn; see `Varlen`."""
    mixed = import_module("flash_attn").flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=queries.offsets,
        cu_seqlens_k=keys.offsets,
        max_seqlen_q=queries.longest,
        max_seqlen_k=keys.longest,
        softmax_scale=scale,
        causal=window[1] == 0,
        window_size=window,
    )
    return cast("Tensor", mixed)


def torch_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Side,
    keys: Side,
    *,
    scale: float | None,
    window: tuple[int, int],
) -> Tensor:
    """Attend with the kernel that comes with PyTorch; see `Varlen`."""
    from torch.nn.attention.varlen import varlen_attn

    # Older releases know no grouped heads; the kernel for all others is the same.
    grouped = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
    mixed = varlen_attn(
        query,
        key,
        value,
        queries.offsets,
        keys.offsets,
        queries.longest,
        keys.longest,
        scale=scale,
        window_size=window,
        **grouped,
    )
    return cast("Tensor", mixed)


# The best first.
KERNELS: dict[str, Varlen] = {"flash-attn": flash_attention, "torch varlen_attn": torch_varlen}


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
        try:
            if dtype not in (torch.float16, torch.bfloat16):
                raise TypeError(f"not made for {dtype}")
            _try(kernel, heads, key_heads, width, device, dtype)
        except _UNUSABLE as error:
            reason = str(error).partition("\n")[0][:200]
            refused.append(f"{name}: {reason or type(error).__name__}")
        else:
            _tell(f"{name}, all texts of a batch at once", refused)
            return kernel
    _tell("scaled_dot_product_attention, texts of equal length together", refused)
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
