"""What the ledger keeps of attempts that began and ended, newest last and bounded.

It is how `bulkscore logs` answers without a log server. It may be lost with Redis: failures are
also in the history of their chunk and in dead letters, stage times of results in their accounts.
Ids, numbers, codes and words of ours; never the text of a row.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from schemas.dead_letter import AttemptRecord
from schemas.record import Record

# Lines of one attempt that are kept; its worker's log has all of them.
LINES_KEPT = 20

Event = Literal["begun", "ended", "lost"]


class LogLine(Record):
    """A warning that a worker logged during an attempt."""

    at: datetime
    level: str
    message: str


class AttemptEvent(Record):
    """One thing that happened to a chunk.

    Attributes:
        event: `begun`; `ended`, with all fields; `lost`: its lease ran out, or its process died.
        outcome: How it ended, such as `succeeded`, `retrying` or `dead`.
        code: Of the error that ended it.
        message: The error in words.
        exception: Class of what was raised first.
        traceback: Files, lines and code, no values.
        seconds: From its begin to its end.
        stages: Seconds in each stage, which overlap each other.
        lines: Warnings that it logged.
    """

    at: datetime = datetime.fromtimestamp(0, UTC)
    event: Event
    chunk: int
    worker: str
    token: str = ""
    attempt: int | None = None
    generation: int = 0
    model: str | None = None
    outcome: str | None = None
    code: str | None = None
    message: str | None = None
    exception: str | None = None
    traceback: str | None = None
    seconds: float | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    lines: tuple[LogLine, ...] = ()


class AttemptView(Record):
    """An attempt from begin to end, as far as both are known.

    `outcome` is `running` while it has not ended, and `lost` when it never did.
    """

    number: int | None
    generation: int
    worker: str
    outcome: str
    began_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    code: str | None = None
    message: str | None = None
    exception: str | None = None
    traceback: str | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    lines: tuple[LogLine, ...] = ()


def parse_event(body: str, at_ms: float) -> AttemptEvent:
    """Return the event that the ledger keeps as `body`, entered at `at_ms`."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return AttemptEvent.model_validate_json(body).model_copy(update={"at": at})


def in_order(events: Iterable[AttemptEvent]) -> list[AttemptEvent]:
    """Return events as they happened: of one instant, the lost attempt before the one after it."""
    rank = {"lost": 0, "begun": 1, "ended": 2}
    return sorted(events, key=lambda event: (event.at, rank[event.event]))


def attempts_of(events: Iterable[AttemptEvent]) -> list[AttemptView]:
    """Return the attempts that the events of one chunk tell of, in the order of their begin."""
    found: dict[str, AttemptView] = {}
    for event in in_order(events):
        view = found.get(event.token)
        if event.event == "begun":
            # Nobody else may begin while an attempt lives.
            for token, other in found.items():
                if other.outcome == "running":
                    found[token] = other.model_copy(update={"outcome": "lost"})
            found[event.token] = _begun(event)
        elif event.event == "ended":
            found[event.token] = _ended(event, view.began_at if view else None)
        elif view is not None and view.outcome == "running":
            found[event.token] = view.model_copy(update={"outcome": "lost", "ended_at": event.at})
    return list(found.values())


def with_records(
    attempts: Iterable[AttemptView], records: Iterable[AttemptRecord], generation: int
) -> list[AttemptView]:
    """Add failed attempts that are on record and of which the events do not tell the end."""
    merged = {(a.generation, a.number, a.began_at): a for a in attempts}
    told = {(a.generation, a.number, a.code) for a in merged.values() if a.code}
    for record in records:
        if (generation, record.number, record.code) in told:
            continue
        twin = next(
            (k for k, a in merged.items() if k[:2] == (generation, record.number) and not a.code),
            None,
        )
        if twin is not None:
            del merged[twin]
        view = AttemptView(
            number=record.number,
            generation=generation,
            worker=record.worker,
            outcome="failed",
            began_at=record.began_at,
            ended_at=record.at,
            seconds=record.seconds,
            code=record.code,
            message=record.message,
            exception=record.exception,
            stages=record.stages,
        )
        merged[(generation, record.number, record.began_at or record.at)] = view
    return sorted(merged.values(), key=_time)


def _time(view: AttemptView) -> float:
    at = view.began_at or view.ended_at
    return at.timestamp() if at else 0.0


def _begun(event: AttemptEvent) -> AttemptView:
    return AttemptView(
        number=event.attempt,
        generation=event.generation,
        worker=event.worker,
        outcome="running",
        began_at=event.at,
    )


def _ended(event: AttemptEvent, began_at: datetime | None) -> AttemptView:
    return AttemptView(
        number=event.attempt,
        generation=event.generation,
        worker=event.worker,
        outcome=event.outcome or "failed",
        began_at=began_at,
        ended_at=event.at,
        seconds=event.seconds,
        code=event.code,
        message=event.message,
        exception=event.exception,
        traceback=event.traceback,
        stages=event.stages,
        lines=event.lines,
    )
