"""The order in which a training sees its rows."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

BATCHES_SORTED = 50  # so many batches of random rows are sorted by length together


class LengthGroupedOrder(Sampler[int]):
    """Random batches of rows of about the same length, another order each epoch.

    It depends on seed and epoch alone: a training that goes on after it was killed sees the rows
    that it had not seen yet.
    """

    def __init__(self, lengths: Sequence[int], batch_rows: int, seed: int) -> None:
        """Prepare the order of epoch 0.

        Args:
            lengths: Tokens of each row.
            batch_rows: Rows of a step.
            seed: Another one gives another order.
        """
        self._lengths = np.asarray(lengths)
        self._batch_rows = batch_rows
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def order(self) -> NDArray[np.int64]:
        """Return the rows of this epoch in order."""
        random = np.random.default_rng([self._seed, self.epoch])
        rows = random.permutation(len(self._lengths))
        together = self._batch_rows * BATCHES_SORTED
        parts = [rows[i : i + together] for i in range(0, len(rows), together)]
        grouped = np.concatenate([p[np.argsort(-self._lengths[p], kind="stable")] for p in parts])
        whole = len(rows) // self._batch_rows * self._batch_rows
        batches = grouped[:whole].reshape(-1, self._batch_rows)
        return np.concatenate([random.permutation(batches).ravel(), grouped[whole:]])
