"""Kernels that attend within all rows of a ragged batch at once.

They are made for half precision on GPUs, each for some generations and widths of heads.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor


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
    grouped: dict[str, Any] = {"enable_gqa": True} if query.shape[1] != key.shape[1] else {}
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


def memory_efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Side,
    keys: Side,
    *,
    scale: float | None,
    window: tuple[int, int],
) -> Tensor:
    """Attend with the kernel of xFormers that PyTorch has for nested tensors; see `Varlen`.

    It knows no windows and no grouped heads.
    """
    if window != (-1, -1) or query.shape[1] != key.shape[1]:
        raise ValueError("no windows, no grouped heads")
    mixed, *_ = torch.ops.aten._efficient_attention_forward(
        query[None],
        key[None],
        value[None],
        None,
        queries.offsets,
        keys.offsets,
        queries.longest,
        keys.longest,
        0.0,
        0,
        False,
        scale=scale,
    )
    return cast("Tensor", mixed[0])
