"""What commands say: data to stdout, talk to stderr, JSON where asked for.

rich is loaded only when a table is printed. Colors and bars appear on a terminal alone, and
NO_COLOR switches them off (rich and typer honor it).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from schemas.errors import BulkError

# A table that is piped is not cut to the width of some terminal.
PIPED_WIDTH = 10_000


def say(message: str) -> None:
    """Write one line of talk to stderr."""
    print(message, file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Write one line of data to stdout."""
    print(text, flush=True)


def print_json(value: object, *, line: bool = False) -> None:
    """Write JSON to stdout: indented, or as one line of a stream."""
    print_line(json.dumps(plain(value), indent=None if line else 2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Return `value` with the records in it turned into what JSON knows."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to stdout; a column whose name starts with `#` is aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(
            name.removeprefix("#"),
            justify="right" if name.startswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    console.print(table)


def print_facts(facts: Mapping[str, object], *, to_stderr: bool = False) -> None:
    """Write names and values, one pair a line."""
    write = say if to_stderr else print_line
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        write(f"{name:<{width}}  {cell(value)}".rstrip())


def cell(value: object) -> str:
    """Return how a value is shown: large numbers in groups, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)


def counts(numbers: Mapping[str, int]) -> str:
    """Return counts by name as one phrase, those that are zero left out."""
    return ", ".join(f"{count:,} {name}" for name, count in numbers.items() if count) or "none"


def number_of(count: int, noun: str) -> str:
    """Return a count of something, as in `1 chunk` and `2 chunks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def row_range(start: int, rows: int) -> str:
    """Return the rows of a chunk within their file, counted from 0, both ends included."""
    return f"{start:,} to {start + rows - 1:,}" if rows else "none"


def duration(seconds: float | None) -> str:
    """Return a time span in the two largest units that matter."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def size(count_bytes: float) -> str:
    """Return a number of bytes in a unit that suits it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count_bytes < 1024:
            return f"{count_bytes:,.0f} {unit}" if unit == "B" else f"{count_bytes:,.1f} {unit}"
        count_bytes /= 1024
    return f"{count_bytes:,.1f} TiB"


def report_error(error: BulkError, *, as_json: bool) -> None:
    """Write an error of ours to stderr, as one line or as one JSON object."""
    if as_json:
        say(json.dumps({"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False))
    else:
        say(f"error [{error.code}]: {error}")
