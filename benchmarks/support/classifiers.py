"""Other ways to run BERT on one row of tokens, to be measured beside the engine's."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.engine.attention import attend_from_first
from worker.engine.fused import FusedClassifier
from worker.engine.linear import make_linear
from worker.engine.packed_batch import PackedBatch
from worker.engine.ragged import Rows


class QueryApart(FusedClassifier):
    """In the last layer, computes queries for first tokens alone, in a product of their own."""

    def __init__(self, model: Any, family: Any, **options: Any) -> None:
        heads = model.base_model.encoder.layer[-1].attention.self
        super().__init__(model, family, **options)
        int8 = bool(options.get("int8"))
        self._query = make_linear([heads.query], "gelu", int8=int8)
        self._key_value = make_linear([heads.key, heads.value], "gelu", int8=int8)

    def _last(self, hidden: Tensor, batch: PackedBatch) -> Tensor:
        first = hidden[batch.first]
        query = self._query(first).view(len(first), self._heads, -1)
        parts = self._key_value(hidden).chunk(2, dim=1)
        key, value = (part.view(len(hidden), self._heads, -1) for part in parts)
        mixed = attend_from_first(query, key, value, batch)
        return self._rest(self._layers[-1], mixed.flatten(1), first)


class Compiled(FusedClassifier):
    """Has PyTorch's compiler make one program of what is behind the attention of a layer.

    With frozen weights, that it lays out for oneDNN, and for the one number of tokens that nearly
    all calls have. In fp32 and bf16.
    """

    def __init__(self, model: Any, family: Any, **options: Any) -> None:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        behind = [_BehindAttention(layer) for layer in model.base_model.encoder.layer]
        super().__init__(model, family, **options)
        self._compiled = {
            id(layer): torch.compile(module.eval(), dynamic=False)
            for layer, module in zip(self._layers, behind, strict=True)
        }

    def __call__(self, rows: Rows) -> Tensor:
        """Score as the engine does; frozen weights are not for its inference mode."""
        with torch.inference_mode(False), torch.no_grad():
            return super().__call__(rows)

    def _rest(self, layer: Any, mixed: Tensor, hidden: Tensor) -> Tensor:
        size = self._tokens_at_once
        whole = len(mixed) // size * size if size else 0
        parts = zip(mixed[:whole].split(size), hidden[:whole].split(size), strict=True)
        done = [self._compiled[id(layer)](*part) for part in parts if whole]
        if whole < len(mixed):
            done.append(super()._rest(layer, mixed[whole:], hidden[whole:]))
        return torch.cat(done)


class _BehindAttention(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention_out = layer.attention.output.dense
        self.attention_norm = layer.attention.output.LayerNorm
        self.up, self.down = layer.intermediate.dense, layer.output.dense
        self.out_norm = layer.output.LayerNorm

    def forward(self, mixed: Tensor, hidden: Tensor) -> Tensor:
        hidden = self.attention_norm(self.attention_out(mixed) + hidden)
        normed: Tensor = self.out_norm(self.down(F.gelu(self.up(hidden))) + hidden)
        return normed
