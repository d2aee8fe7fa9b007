"""Logging that a block may set up as a process of its own would, and that is as it was after it."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from schemas.logs import CHATTY_LOGGERS, TRUSTED


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """Begin the block without handlers, and put all that `set_up_logging` changes back after it."""
    root = logging.getLogger()
    handlers = root.handlers
    levels = {
        logger: logger.level for logger in (root, *map(logging.getLogger, TRUSTED + CHATTY_LOGGERS))
    }
    root.handlers = []
    try:
        with pytest.MonkeyPatch.context() as patch:
            for module in (sys, threading):
                patch.setattr(module, "excepthook", module.excepthook)  # so that it comes back
            yield
    finally:
        for own in root.handlers:
            if isinstance(own, logging.StreamHandler):
                own.stream.close()  # a copy of file descriptor 2
        root.handlers = handlers
        for logger, level in levels.items():
            logger.setLevel(level)
        logging.captureWarnings(False)
