"""Log lines: one JSON object each, or a human line on a terminal. Never the text of a row.

What keeps rows out is the form, not the care of whoever logs. Fields beside the message are those
of `KNOWN_FIELDS`. Messages are shown of our own loggers, which say places, numbers and codes, and
of those of the queue, which see nothing else. Any other library may quote what it works on: of its
lines the logger, the level and the template stay. Of exceptions there are the classes and the
stack; the words only of our own.
"""

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any, TextIO

import structlog

from schemas.errors import BulkError

# Names that may appear beside the message; everything else given as `extra` is left out.
KNOWN_FIELDS = (
    "action",
    "job_id",
    "chunk",
    "attempt",
    "generation",
    "model",
    "outcome",
    "code",
    "rows",
    "tokens",
    "seconds",
    "worker",
)
# Packages whose messages hold no row: our own, and those that carry ids about.
TRUSTED = ("producer", "schemas", "worker", "celery", "kombu", "billiard", "multiprocessing")
# They tell of every message what our own line per attempt tells better.
CHATTY_LOGGERS = ("celery.worker.strategy", "celery.app.trace", "celery.utils.functional")
MAX_STACK_CHARACTERS = 16_000

# Of the attempt under way. A process makes one attempt at a time, and its threads and those of
# libraries speak of it too: a context variable would not reach them.
_bound: dict[str, object] = {}


@contextlib.contextmanager
def bound(**names: object) -> Iterator[None]:
    """Have every line of this process carry these fields until the block ends."""
    before = dict(_bound)
    bind(**names)
    try:
        yield
    finally:
        _bound.clear()
        _bound.update(before)


def bind(**names: object) -> None:
    """Add fields to those of the block under way."""
    _bound.update({name: value for name, value in names.items() if value is not None})


def set_up_logging(*, format_name: str, level: str) -> None:
    """Send all log records of this process, warnings and uncaught exceptions to stderr.

    Args:
        format_name: `json`, `human`, or `auto`: human on a terminal, else JSON.
        level: Name of the lowest level shown; of libraries WARNING at least.
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
            _without_rows,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )
    # A stream of its own: file descriptor 2 may be taken away from libraries (`native_stderr`).
    handler = logging.StreamHandler(_own_stderr())
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    for name in TRUSTED:
        logging.getLogger(name).setLevel(level)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda given: _log_uncaught(
        given.exc_type, given.exc_value or given.exc_type(), given.exc_traceback
    )


def describe(error: BaseException) -> str:
    """Return what can be said of an error without quoting a row."""
    if isinstance(error, BulkError):
        return str(error)
    name = type(error).__name__
    # The system names files and hosts, torch shapes and devices; others quote what they choke on,
    # Arrow by an OSError of its own making.
    speaks = isinstance(error, OSError) and error.errno is not None
    speaks = speaks or type(error) in (RuntimeError, MemoryError)
    speaks = speaks or type(error).__module__.partition(".")[0] == "torch"
    if not speaks or not str(error):
        return name
    return f"{name}: {str(error).splitlines()[0][:500]}"


def exception_of(error: BaseException) -> str:
    """Return the class of what was raised first, with its module where it is not our own."""
    while error.__cause__ is not None:
        error = error.__cause__
    kind = type(error)
    plain = isinstance(error, BulkError) or kind.__module__ == "builtins"
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def frames_of(error: BaseException) -> str:
    """Return the stack of an error and of its causes: files, lines and code, no values."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        stack = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{stack}{describe(current)}")
        current = current.__cause__
    return "\n\ncaused by:\n".join(parts)[-MAX_STACK_CHARACTERS:]


def _without_rows(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put in what is bound, and leave out what might quote a row."""
    record: logging.LogRecord = line["_record"]
    for name, value in _bound.items():
        line.setdefault(name, value)
    if record.name.partition(".")[0] not in TRUSTED:
        line["event"] = _template(record, str(line["event"]))
    raised = line.pop("exc_info", None)
    line.pop("stack", None)
    if isinstance(raised, tuple) and raised[1] is not None:
        line["exception"] = frames_of(raised[1])
    return line


def _template(record: logging.LogRecord, message: str) -> str:
    """Return what a library's line says without its values."""
    if record.name == "py.warnings":  # "FILE:LINE: Category: message"
        return ":".join(message.split(":", 3)[:3])
    filled_in = str(record.msg) != message
    said = str(record.msg) if filled_in else "message withheld, it might quote a row"
    return f"{said} ({record.module}:{record.lineno})"


def _log_uncaught(kind: type[BaseException], error: BaseException, stack: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("worker").error("uncaught exception", exc_info=(kind, error, stack))


def _own_stderr() -> TextIO:
    try:
        return open(os.dup(2), "w", buffering=1, encoding="utf-8")
    except OSError:  # it is closed
        return sys.stderr
