"""A log line says which attempt it is of, and quotes no row, whoever logs it."""

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from schemas.attempt_log import AttemptEvent, Event, attempts_of
from schemas.errors import InputCorrupt
from schemas.logs import bound, set_up_logging
from support.logs import own_logging
from worker.native_stderr import without_rows

ROW = "the text of a row"


def line(name: str, message: str, *args: object, **options: Any) -> dict[str, Any]:
    """Return what is written when something is logged, as a record."""
    written = StringIO()
    with own_logging():
        set_up_logging(format_name="json", level="DEBUG")
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, logging.StreamHandler)
        own = handler.setStream(written)
        assert own is not None
        own.close()
        logging.getLogger(name).error(message, *args, **options)
        found: dict[str, Any] = json.loads(written.getvalue())
    return found


def test_a_line_of_any_thread_carries_what_is_bound() -> None:
    told: list[dict[str, object]] = []

    with bound(job_id="nightly", chunk=7):
        thread = threading.Thread(target=lambda: told.append(line("botocore.x", "retry")))
        thread.start()
        thread.join()
    after = line("worker.x", "done")

    assert (told[0]["job_id"], told[0]["chunk"]) == ("nightly", 7)
    assert "job_id" not in after


def test_of_a_library_the_template_stays_and_its_values_do_not() -> None:
    with_values = line("tokenizers", "cannot encode %r", ROW)
    as_a_whole = line("tokenizers", f"cannot encode {ROW}")
    ours = line("worker.x", "rows %d to %d", 3, 7)

    assert "cannot encode %r" in str(with_values["event"])
    assert "withheld" in str(as_a_whole["event"])
    assert ROW not in str([with_values, as_a_whole])
    assert ours["event"] == "rows 3 to 7"


def test_of_an_exception_the_class_and_the_stack_stay() -> None:
    try:
        try:
            raise ValueError(ROW)
        except ValueError as error:
            raise InputCorrupt("a.parquet is damaged") from error
    except InputCorrupt as error:
        told = line("worker.x", "failed", exc_info=error)

    assert "ValueError" in str(told["exception"])
    assert "a.parquet is damaged" in str(told["exception"])
    assert "test_logs.py" in str(told["exception"])
    assert ROW not in str(told)


def test_of_a_panic_the_place_stays() -> None:
    said = f"thread '<unnamed>' panicked at src/models/bpe.rs:12:34:\nnot a boundary in `{ROW}`\n"

    assert without_rows(said) == "panicked at src/models/bpe.rs:12:34; 1 lines withheld"


def test_an_attempt_without_an_end_is_lost_when_the_next_begins() -> None:
    def begun(token: str, attempt: int) -> AttemptEvent:
        return AttemptEvent(event="begun", chunk=1, worker="w", token=token, attempt=attempt)

    ended = AttemptEvent(
        event="ended", chunk=1, worker="w", token="b", attempt=2, outcome="succeeded"
    )

    found = attempts_of([ended, begun("a", 1), begun("b", 2)])

    assert [(view.number, view.outcome) for view in found] == [(1, "lost"), (2, "succeeded")]


def test_an_attempt_taken_over_at_once_was_lost_at_that_instant() -> None:
    now = datetime(2026, 6, 1, 3, 0, 5, tzinfo=UTC)

    def event(kind: Event, token: str, attempt: int, at: datetime = now) -> AttemptEvent:
        return AttemptEvent(event=kind, chunk=1, worker="w", token=token, attempt=attempt, at=at)

    began = event("begun", "a", 1, now - timedelta(seconds=5))
    first, second = attempts_of([event("begun", "b", 2), began, event("lost", "a", 1)])

    assert (first.outcome, first.ended_at) == ("lost", now)
    assert (second.number, second.outcome) == (2, "running")
