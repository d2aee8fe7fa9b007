"""Attention to ragged batches the plain way: each row by itself, with a mask where one is due."""

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.engine.varlen_kernels import Side


def dense_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Side,
    keys: Side,
    *,
    scale: float | None,
    window: tuple[int, int],
) -> Tensor:
    """Attend within each row; a `worker.engine.varlen.Varlen` for tests, on any device."""
    asked, held = queries.offsets.tolist(), keys.offsets.tolist()
    assert len(asked) == len(held)
    out = torch.zeros_like(query)
    for row in range(len(asked) - 1):
        q, k = slice(asked[row], asked[row + 1]), slice(held[row], held[row + 1])
        assert q.stop - q.start <= queries.longest
        assert k.stop - k.start <= keys.longest
        if q.stop == q.start:
            continue
        out[q] = F.scaled_dot_product_attention(
            query[q].transpose(0, 1),
            key[k].transpose(0, 1),
            value[k].transpose(0, 1),
            attn_mask=_seen(q.stop - q.start, k.stop - k.start, window),
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        ).transpose(0, 1)
    return out


def _seen(queries: int, keys: int, window: tuple[int, int]) -> Tensor:
    """Return which keys a query sees [queries, keys]."""
    before, after = (keys if side < 0 else side for side in window)
    distance = torch.arange(keys)[None, :] - torch.arange(queries)[:, None]
    return (distance >= -before) & (distance <= after)
