"""Classifiers that run a batch as a rectangle: for every family, at the cost of padding."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from schemas.model_families import Family
from worker.engine.padding import pad, unused_id
from worker.engine.ragged import Rows
from worker.engine.transfer import transfer_to


class PaddedClassifier:
    """A transformers classifier that pads to the right or left as its family needs.

    Args:
        model: A classifier in evaluation mode.
        family: How its family must be run.
        device: Where it computes.
    """

    def __init__(self, model: Any, family: Family, *, device: torch.device) -> None:
        self._model = model
        self._family = family
        self._upload = transfer_to(device).upload
        self._pad_id = _pad_id(model.config)

    def __call__(self, rows: Rows) -> Tensor:
        """Return logits [rows, labels] in the order of the rows, on the device."""
        return torch.cat([self._run(part, pad_id) for part, pad_id in self._paddable(rows)])

    def _paddable(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Yield rows that can be padded together, with the id to pad them with."""
        if self._pad_id is not None:
            yield rows, self._pad_id
            return
        free = unused_id(rows, int(self._model.config.vocab_size))
        if free is not None:
            yield rows, free
            return
        yield from ((rows[i : i + 1], 0) for i in range(len(rows)))

    def _run(self, rows: Rows, pad_id: int) -> Tensor:
        ids, mask = pad(rows, pad_id=pad_id, side=self._family.padding_side)
        if self._pad_id is None and self._family.reads_last_token:
            self._model.config.pad_token_id = pad_id if len(rows) > 1 else None
        # No token types: for single texts transformers' own tokenizers give none, or zeros.
        logits: Tensor = self._model(
            input_ids=self._upload(ids),
            attention_mask=self._upload(mask),
        ).logits
        return logits


def _pad_id(config: Any) -> int | None:
    """Return the id the model takes for padding, None where it has none: then any id will do."""
    pad_id = config.pad_token_id
    # Some configs say -1 for none.
    return pad_id if isinstance(pad_id, int) and 0 <= pad_id < config.vocab_size else None
