"""Logging of the commands: set up by the first line there is, because most have none."""

import logging
import os


class SetUpByFirst(logging.Handler):
    """Sets logging up when something is logged, and passes it on: `--help` loads no structlog.

    Warnings only, unless `BULKSCORE_LOG_LEVEL` says otherwise; JSON unless on a terminal.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Replace this handler by the real one."""
        from schemas.logs import set_up_logging
        from schemas.settings import WorkerSettings, load

        told = load(WorkerSettings)
        level = told.log_level if os.environ.get("BULKSCORE_LOG_LEVEL") else "WARNING"
        set_up_logging(format_name=told.log_format, level=level)
        logging.getLogger(record.name).handle(record)


def log_when_needed() -> None:
    """Have the first record of this process set logging up."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(SetUpByFirst(logging.WARNING))
