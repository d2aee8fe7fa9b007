"""What a tokenizer makes of texts: passages of token ids, as lists that Arrow keeps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Passages(NamedTuple):
    """Token ids of texts, in their order.

    Attributes:
        rows: A list of int32 ids for each passage, text by text, special tokens included.
        counts: int64 [texts], passages of each text.
        long: bool [texts], whether it has more tokens than a passage holds.
    """

    rows: pa.ListArray
    counts: NDArray[np.int64]
    long: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids of texts, in their order, each in one passage or more.

    Attributes:
        rows: A list of int32 ids for each passage, text by text, special tokens included; empty
            where it failed.
        passages: int64 [texts], passages of each text, at least 1.
        truncated: bool [texts], True where tokens were cut off.
        failed: bool [texts], True where the tokenizer failed or made no token at all.
    """

    rows: pa.ListArray
    passages: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    @cached_property
    def ids(self) -> list[Ids]:
        """int32 [tokens] for each passage, as in `rows`."""
        return arrays_of(self.rows)

    def take(self, texts: NDArray[np.int64]) -> "Encoded":
        """Return the texts at these places, in the order given."""
        places = pa.array(np.arange(len(self.rows)))
        of_texts = pa.ListArray.from_arrays(_offsets(self.passages), places)
        return Encoded(
            rows=self.rows.take(of_texts.take(pa.array(texts)).values),
            passages=self.passages[texts],
            truncated=self.truncated[texts],
            failed=self.failed[texts],
        )

    def tokens(self) -> NDArray[np.int32]:
        """Return the tokens of each text [texts], those of all its passages together."""
        return np.add.reduceat(lengths_of(self.rows), np.cumsum(self.passages) - self.passages)


def joined(parts: Iterable[Passages]) -> Passages:
    """Return the passages of some texts and of others, in order."""
    rows, counts, long = zip(_NONE, *parts, strict=True)
    return Passages(pa.concat_arrays(rows), np.concatenate(counts), np.concatenate(long))


def replaced(items: pa.Array, places: Sequence[int], others: pa.Array) -> pa.Array:
    """Return items, and others at some places."""
    if not len(places):
        return items
    order = np.arange(len(items))
    order[places] = len(items) + np.arange(len(others))
    return pa.concat_arrays([items, others]).take(pa.array(order))


def lists_of(rows: Sequence[Ids]) -> pa.ListArray:
    """Return ids as Arrow has them."""
    flat = np.concatenate([np.empty(0, dtype=np.int32), *rows])
    return pa.ListArray.from_arrays(_offsets(np.array([len(row) for row in rows])), pa.array(flat))


def arrays_of(rows: pa.ListArray) -> list[Ids]:
    """Return the ids of each row, which are not copied."""
    flat = flat_ids(rows)
    return [flat[begin:end] for begin, end in pairwise(rows.offsets.to_pylist())]


def flat_ids(rows: pa.ListArray) -> Ids:
    """Return the ids of all rows, one row after the other, at the places `rows.offsets` tells."""
    ids: Ids = rows.values.to_numpy()
    return ids


def lengths_of(rows: pa.ListArray) -> NDArray[np.int32]:
    """Return the number of ids in each row [rows]."""
    lengths: NDArray[np.int32] = np.diff(rows.offsets.to_numpy())
    return lengths


def rows_as_bytes(rows: pa.ListArray) -> pa.LargeBinaryArray:
    """Return the same ids as bytes, which Arrow can compare."""
    offsets = 4 * rows.offsets.to_numpy().astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), rows.values.buffers()[1]]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(rows), buffers)


def _offsets(lengths: NDArray[np.int64]) -> pa.Array:
    return pa.array(np.append(0, np.cumsum(lengths)), pa.int32())


_NONE = Passages(lists_of([]), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_))
