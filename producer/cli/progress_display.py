"""Showing progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from producer.cli.terminal import duration, print_json, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    from producer.progress import Progress

EVERY_SECONDS = 5.0
BAR_WIDTH = 30


class Display(Protocol):
    """Shows the progress of one job."""

    def show(self, progress: "Progress") -> None:
        """Show where the job is now."""


@contextmanager
def display(*, as_json: bool) -> Iterator[Display]:
    """Show progress in the way that suits where the output goes.

    Args:
        as_json: Write one JSON object a line to stdout, instead of talk to stderr.
    """
    if as_json:
        yield Lines(lambda progress: print_json(progress.as_json(), line=True))
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield bar
    else:
        yield Lines(lambda progress: say(describe(progress)))


class Lines:
    """Writes the first progress, the last, and one every few seconds in between."""

    def __init__(self, write: Callable[["Progress"], None]) -> None:
        self._write = write
        self._next = 0.0

    def show(self, progress: "Progress") -> None:
        """Write the progress if it is time for it."""
        if progress.ended or time.monotonic() >= self._next:
            self._write(progress)
            self._next = time.monotonic() + EVERY_SECONDS


def describe(progress: "Progress") -> str:
    """Return one line that says how far the job is."""
    return f"{progress.job_id}: {progress.fraction:.0%}, {_amounts(progress)}, {_pace(progress)}"


def _amounts(progress: "Progress") -> str:
    parts = [
        f"{progress.rows_done:,} of {progress.rows:,} rows",
        f"{progress.chunks_done:,} of {progress.chunks:,} chunks",
        f"{progress.tokens:,} tokens",
    ]
    for name in ("running", "retrying", "dead", "cancelled"):
        if count := getattr(progress, name):
            parts.append(f"{count:,} {name}")
    if progress.rows_error:
        parts.append(f"{progress.rows_error:,} row errors")
    return ", ".join(parts)


def _pace(progress: "Progress") -> str:
    if progress.ended:
        return f"{progress.state} after {duration(progress.elapsed_seconds)}"
    if progress.rows_per_second is None or progress.tokens_per_second is None:
        return "rate not known yet"
    return (
        f"{progress.rows_per_second:,.0f} rows/s, {progress.tokens_per_second:,.0f} tokens/s, "
        f"ETA {duration(progress.eta_seconds)}"
    )


@contextmanager
def _bar() -> Iterator[Display]:
    from rich.console import Console

    with bar_on(Console(stderr=True)) as bar:
        yield bar


@contextmanager
def bar_on(console: "Console") -> Iterator[Display]:
    """Show a bar and the pace in one line, and the amounts below, which may fold.

    One line for all of it would be cut on an ordinary terminal.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.text import Text

    columns = (BarColumn(BAR_WIDTH), TaskProgressColumn(), TextColumn("{task.description}"))
    upper, lower = Progress(*columns), Text()
    with Live(Group(upper, lower), console=console):
        yield _Bar(upper, lower)


class _Bar:
    def __init__(self, upper: "RichProgress", lower: "Text") -> None:
        self._upper, self._lower = upper, lower
        self._task = upper.add_task("", total=1.0)

    def show(self, progress: "Progress") -> None:
        """Redraw the bar."""
        pace = _pace(progress)
        self._upper.update(self._task, completed=progress.fraction, description=pace)
        self._lower.plain = _amounts(progress)
