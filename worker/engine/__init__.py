"""The seam between a chunk and a model: ragged token ids in, logits out, in the same order.

This module loads no torch; `worker.engine.loading` does.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DeviceOutOfMemory

# Called after each batch with the number of tokens scored by this call of `forward` so far;
# what it raises ends the call. Renews leases, checks deadlines and drains between batches.
BetweenBatches = Callable[[int], None]


class RowOutOfMemory(DeviceOutOfMemory):
    """A row does not fit the memory of the device even alone.

    Attributes:
        row: Which one, by its place in what `forward` was given.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class Engine(Protocol):
    """A loaded model able to run `forward`."""

    @property
    def label_count(self) -> int:
        """Logits per row."""

    @property
    def device(self) -> str:
        """Where it computes, such as `cpu` or `cuda:0`."""

    @property
    def dtype(self) -> str:
        """What it computes in: `fp32`, `bf16`, `fp16` or `int8`."""

    @property
    def token_budget(self) -> int:
        """Most tokens in one batch; less after a batch of so many did not fit.

        Padding counts where a model needs it. Found by calibration unless it was asked for.
        """

    def forward(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        between: BetweenBatches | None = None,
    ) -> NDArray[np.float32]:
        """Return logits [rows, labels] for token ids, row by row in the order given.

        Sorts and batches by itself, so hand over as many rows as memory allows: the more rows,
        the less padding. No row may be empty. The longest rows come first, so that little has
        been done when one turns out not to fit: leave it out and call again.

        Args:
            token_ids: The ids of each row, special tokens included, [tokens] each.
            between: Called after each batch.

        Raises:
            RowOutOfMemory: A row does not fit the device, whatever it is batched with.
            DeviceFailed: The device is of no more use to this process.
        """
