"""Rows as one row of tokens on a device, with what attention needs to keep them apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine.ragged import Ragged, Rows, Run, ragged
from worker.engine.transfer import transfer_to
from worker.engine.varlen_kernels import Side, Varlen


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """A ragged batch on the device; made once, used by every layer.

    Attributes:
        ids: int64 [tokens], the ids of all rows.
        positions: int64 [tokens], as the model counts them, afresh in each row.
        offsets: int32 [rows + 1], place of each row's first token, and the end.
        layout: The same on the host.
        varlen: What attends within all rows at once; None to do so run by run.
    """

    ids: Tensor
    positions: Tensor
    offsets: Tensor
    layout: Ragged
    varlen: Varlen | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """The rows by length, in order."""
        return self.layout.runs

    @property
    def first(self) -> Tensor:
        """Places of the first token of each row, int64 [rows]."""
        return self.offsets[:-1].long()

    @property
    def last(self) -> Tensor:
        """Places of the last token of each row, int64 [rows]."""
        return self.offsets[1:].long() - 1

    @property
    def rows(self) -> Side:
        """The rows, as a kernel for ragged batches wants them."""
        return Side(offsets=self.offsets, longest=self.layout.longest)

    @property
    def first_tokens(self) -> Side:
        """Rows of one token each: the first of each row."""
        count = len(self.offsets)
        places = torch.arange(count, dtype=torch.int32, device=self.offsets.device)
        return Side(offsets=places, longest=1)


class Packing:
    """Lays rows end to end on a device, in one copy that runs beside the device's work.

    Args:
        device: Where the batch is wanted.
        first_position: The position of a row's first token.
        varlen: What attends within all rows at once, None to do so run by run.
    """

    def __init__(
        self, device: torch.device, *, first_position: int = 0, varlen: Varlen | None = None
    ) -> None:
        self._transfer = transfer_to(device)
        self._first_position = first_position
        self._varlen = varlen

    def __call__(self, rows: Rows) -> PackedBatch:
        """Return the rows on the device, or on their way to it."""
        layout = ragged(rows, self._first_position)
        numbers = self._transfer.upload(layout.numbers)
        tokens = layout.tokens
        return PackedBatch(
            ids=numbers[:tokens].long(),
            positions=numbers[tokens : 2 * tokens].long(),
            offsets=numbers[2 * tokens :],
            layout=layout,
            varlen=self._varlen,
        )
