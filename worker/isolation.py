"""Scores rows and finds those that cannot be: their neighbours keep their scores.

The layer between a chunk and its engine. What the engine raises because of a row becomes an error
of that row; what it raises for any other reason ends the chunk, as ever.
"""

import logging
import traceback
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import BulkError, DeviceFailed, RowError
from schemas.logs import describe
from worker.engine import BetweenBatches, Engine, RowOutOfMemory

logger = logging.getLogger(__name__)

Ids = NDArray[np.int32]

# Up to so many rows may all be at fault; when all of more are, it is rather the model.
FEW_ROWS = 8


def score(
    engine: Engine, token_ids: Sequence[Ids], between: BetweenBatches, *, control: Ids
) -> tuple[NDArray[np.float32], dict[int, RowError]]:
    """Return logits [rows, labels], NaN where a row has none, and why by the place of the row.

    Rows that fail together are halved down to those that fail alone: at most 2 * rows - 1 calls,
    about 2 * log2(rows) for a single row. A row that does not fit the memory is left out at once.

    A row's error is final, a chunk can be tried again, so a row is found at fault only while the
    engine works otherwise: `control`, a row that any model can score, must be scored before and
    after the search, and of more than `FEW_ROWS` rows at least one. (A window may be a single row,
    when texts are long; there the control decides.) Rows that do not fit are known by their
    length, so the control is enough for any number of them.

    Args:
        engine: The engine.
        token_ids: The ids of each row, [tokens] each, none empty.
        between: As in `Engine.forward`; what it raises passes through.
        control: Token ids of a plain, short text.

    Raises:
        BulkError: As from the engine, for a reason that is not a row.
        Exception: What the engine raised first, when it is not the rows that are at fault.
    """
    search = _Search(engine, token_ids, between, control)
    search.run()
    search.judge()
    return search.logits, search.failures


class _Search:
    """The search among the rows of one window."""

    def __init__(
        self, engine: Engine, token_ids: Sequence[Ids], between: BetweenBatches, control: Ids
    ) -> None:
        self.logits = np.full((len(token_ids), engine.label_count), np.nan, dtype=np.float32)
        self.failures: dict[int, RowError] = {}
        self._engine = engine
        self._ids = token_ids
        self._lengths = np.fromiter(map(len, token_ids), np.int64, len(token_ids))
        self._between = between
        self._control = control
        self._stopped = False
        self._tokens = 0  # in the rows that have their logits
        self._first: Exception | None = None

    def run(self) -> None:
        """Score all rows, and enter those that cannot be."""
        parts = [list(range(len(self._ids)))]
        while parts:
            if rows := parts.pop():
                parts += self._forward(rows)

    def judge(self) -> None:
        """Raise what was raised first, unless it is the rows that are at fault."""
        if self._first is None:
            return
        refused = list(self.failures.values()).count(RowError.SCORING_FAILED)
        if refused == len(self._ids) > FEW_ROWS or not self._works():
            raise self._first

    def _forward(self, rows: list[int]) -> list[list[int]]:
        """Score rows together; return what of them is left to do, in parts, the first one last."""
        try:
            self.logits[rows] = self._engine.forward([self._ids[i] for i in rows], self._tell)
        except RowOutOfMemory as error:
            self._remember(error)
            self.failures[rows[error.row]] = RowError.OUT_OF_MEMORY
            left = [rows[: error.row] + rows[error.row + 1 :]]
        except Exception as error:
            if self._stopped or isinstance(error, BulkError):
                raise
            self._remember(error)
            half = len(rows) // 2
            left = [rows[half:], rows[:half]]
            if len(rows) == 1:
                full = isinstance(error, MemoryError)
                self.failures[rows[0]] = RowError.OUT_OF_MEMORY if full else RowError.SCORING_FAILED
                left = []
        else:
            self._tokens += int(self._lengths[rows].sum())
            return []
        self._tell(0)
        return left

    def _tell(self, tokens: int) -> None:
        self._stopped = True
        self._between(self._tokens + tokens)
        self._stopped = False

    def _remember(self, error: Exception) -> None:
        """Keep the first error, without what its frames have in memory, and raise it if it must."""
        if self._first is not None:
            return
        traceback.clear_frames(error.__traceback__)
        if not self._works():
            raise error
        self._first = error
        logger.warning(
            "%d rows cannot be scored together, looking for those at fault: %s",
            len(self._ids),
            describe(error),
            extra={"action": "isolating_rows"},
        )

    def _works(self) -> bool:
        """Say whether the engine scores the control."""
        try:
            self._engine.forward([self._control])
        except DeviceFailed:
            raise
        except Exception as error:
            logger.warning("a plain text cannot be scored either: %s", describe(error))
            return False
        return True
