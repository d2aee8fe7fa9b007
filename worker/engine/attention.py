"""Attention within each row of a ragged batch: block-diagonal, and no mask for it.

Rows of equal length attend together in one unmasked call. Where the device has a kernel for ragged
batches (`worker.engine.varlen`), that takes all rows at once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from worker.engine.packed_batch import PackedBatch
from worker.engine.products import attend_by_products
from worker.engine.ragged import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Which tokens of its own row a token looks at.

    Attributes:
        causal: Only at those up to itself.
        window: Only at those less than so many tokens away; None for all.
    """

    causal: bool = False
    window: int | None = None


FULL = Pattern()


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    batch: PackedBatch,
    *,
    pattern: Pattern = FULL,
    scale: float | None = None,
) -> Tensor:
    """Return attention [tokens, heads, width] within each row of `batch`.

    Args:
        query: [tokens, heads, width].
        key: [tokens, key heads, width]; heads are a multiple of key heads.
        value: [tokens, key heads, width].
        batch: Which tokens belong together.
        pattern: What a token looks at.
        scale: Factor of the products; 1/√width when None.
    """
    if batch.varlen is not None:
        rows, window = batch.rows, _window(pattern)
        return batch.varlen(query, key, value, rows, rows, scale=scale, window=window)
    out = torch.empty_like(query)
    for run in batch.runs:
        q, k, v = _rows_of(query, run), _rows_of(key, run), _rows_of(value, run)
        mixed = _attend_in_rows(q, k, v, pattern, scale)
        out[run.tokens] = mixed.transpose(1, 2).flatten(0, 1)
    return out


def attend_from_first(query: Tensor, key: Tensor, value: Tensor, batch: PackedBatch) -> Tensor:
    """Return attention [rows, heads, width] of the first token of each row to its whole row.

    Args:
        query: [rows, heads, width], of the first tokens.
        key: [tokens, heads, width].
        value: [tokens, heads, width].
        batch: Which tokens belong together.
    """
    if batch.varlen is not None:
        return batch.varlen(
            query, key, value, batch.first_tokens, batch.rows, scale=None, window=(-1, -1)
        )
    out = torch.empty_like(query)
    row = 0
    for run in batch.runs:
        rows = slice(row, row + run.rows)
        keys, values = _rows_of(key, run), _rows_of(value, run)
        scores = query[rows].unsqueeze(2) @ keys.transpose(2, 3)
        weights = scores.mul_(query.shape[2] ** -0.5).softmax(-1)
        out[rows] = (weights @ values).squeeze(2)
        row += run.rows
    return out


def _attend_in_rows(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float | None
) -> Tensor:
    """Return attention of rows of equal length [rows, heads, length, width]."""
    mask = _mask(query.shape[2], pattern, query.device)
    grouped = query.shape[1] != key.shape[1]
    everywhere = mask is None and not (pattern.causal or grouped)
    if everywhere and query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return attend_by_products(query, key, value, scale)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=pattern.causal and mask is None,
        scale=scale,
        enable_gqa=grouped,
    )


def _rows_of(tensor: Tensor, run: Run) -> Tensor:
    """Return [rows, heads, length, width] of a run out of [tokens, heads, width]; no copy."""
    rows = tensor[run.tokens].view(run.rows, run.length, *tensor.shape[1:])
    return rows.transpose(1, 2)


def _mask(length: int, pattern: Pattern, device: torch.device) -> Tensor | None:
    """Return which tokens look at which [length, length], None where a window cuts nothing."""
    if pattern.window is None or pattern.window >= length:
        return None
    places = torch.arange(length, device=device)
    distance = places[:, None] - places[None, :]
    seen = distance.abs() < pattern.window
    return seen & (distance >= 0) if pattern.causal else seen


def _window(pattern: Pattern) -> tuple[int, int]:
    """Return how many tokens before and after itself a token looks at; -1 for all."""
    back = -1 if pattern.window is None else pattern.window - 1
    return back, 0 if pattern.causal else back
