"""Loops around the module of transformers that sort by length and pad."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.speed.scored import Scored, Scorer, over_batches, scored
from benchmarks.speed.setup import MAX_LENGTH, Setup

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SMART_BATCH_ROWS = 32


def loader(dtype: Literal["fp32", "bf16"]) -> Callable[[Setup], Scorer]:
    """Return what loads the loop that fills a token budget."""

    def load(setup: Setup) -> Scorer:
        model = _model(setup, DTYPES[dtype])

        @torch.inference_mode()
        def forward(ids: Any, mask: Any) -> Any:
            logits = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
            return logits.logits.float().numpy()

        return over_batches(setup, forward)

    return load


def load_smart_batches(setup: Setup) -> Scorer:
    """Load the loop of sentence-transformers: sorted by characters, batches of 32, padded.

    The library itself scores pairs only; this is what its `predict` does, for single texts.
    """
    from transformers import AutoTokenizer

    model, tokenizer = _model(setup, torch.float32), AutoTokenizer.from_pretrained(setup.model)

    @torch.inference_mode()
    def score(texts: Sequence[str]) -> Scored:
        order = np.argsort([-len(text) for text in texts])
        parts = []
        for start in range(0, len(order), SMART_BATCH_ROWS):
            batch = [texts[i] for i in order[start : start + SMART_BATCH_ROWS]]
            features = tokenizer(
                batch, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
            )
            parts.append(model(**features).logits)
        return scored(torch.cat(parts).numpy()[np.argsort(order)])

    return score


def _model(setup: Setup, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(setup.model, dtype=dtype).eval()
