"""What an attempt leaves behind about itself, however it ends."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from schemas.attempt_log import LINES_KEPT, AttemptEvent, LogLine
from schemas.errors import BulkError
from schemas.logs import describe, exception_of, frames_of
from worker.metrics import count_stage
from worker.stages import StageClock

# Lines that say no more than the event itself.
_TOLD_BY_EVENT = ("retrying", "buried", "halted")
MAX_TRACEBACK_CHARACTERS = 4_000


class Journal(logging.Handler):
    """Begin, stages, warnings and error of one attempt.

    Attributes:
        began_at: When it began.
        clock: Times of its stages.
        error: What ended it, None where nothing did.
        model: The models of its job, once they are known.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.began_at = datetime.now(UTC)
        self.clock = StageClock(count_stage)
        self.error: BulkError | None = None
        self.model: str | None = None
        self._lines: list[LogLine] = []
        self._more = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning of ours: those messages hold no row."""
        if getattr(record, "action", None) in _TOLD_BY_EVENT:
            return
        at = datetime.fromtimestamp(record.created, UTC)
        line = LogLine(at=at, level=record.levelname.lower(), message=record.getMessage())
        with self._more:
            if len(self._lines) < LINES_KEPT:
                self._lines.append(line)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged during the block."""
        loggers = [logging.getLogger(name) for name in ("worker", "schemas")]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)

    def event(
        self,
        outcome: str,
        *,
        chunk: int,
        attempt: int,
        generation: int,
        worker: str,
        token: str,
    ) -> AttemptEvent:
        """Return how the attempt ended, as the ledger keeps it."""
        error, now = self.error, datetime.now(UTC)
        return AttemptEvent(
            event="ended",
            at=now,
            chunk=chunk,
            attempt=attempt,
            generation=generation,
            worker=worker,
            token=token,
            model=self.model,
            outcome=outcome,
            code=error.code if error else None,
            message=describe(error) if error else None,
            exception=exception_of(error) if error else None,
            traceback=frames_of(error)[-MAX_TRACEBACK_CHARACTERS:] if error else None,
            seconds=round((now - self.began_at).total_seconds(), 3),
            stages=self.clock.seconds,
            lines=tuple(self._lines),
        )
