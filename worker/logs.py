"""Log lines: one JSON object each, or a human line on a terminal. Never the text of a row."""

import logging
import sys
from typing import Any

import structlog

# Names that may appear beside the message; everything else given as `extra` is left out.
KNOWN_FIELDS = (
    "action",
    "job_id",
    "chunk",
    "attempt",
    "outcome",
    "code",
    "rows",
    "tokens",
    "seconds",
    "worker",
)

# They tell of every message what our own line per attempt tells better.
CHATTY_LOGGERS = ("celery.worker.strategy", "celery.app.trace")


def set_up_logging(*, format_name: str, level: str) -> None:
    """Send all log records of this process to stderr in one format.

    Args:
        format_name: `json`, `human`, or `auto`: human on a terminal, else JSON.
        level: Name of the lowest level shown.
    """
    human = format_name == "human" or (format_name == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if human
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=KNOWN_FIELDS),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
