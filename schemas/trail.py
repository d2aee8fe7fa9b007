"""Where the attempts at a chunk that kills its process have been, and what each death teaches.

A chunk whose attempts ended their process too often is scored carefully: each attempt writes
down what it is about to do (`Ledger.note`), rows in small pieces. A piece that kills is taken row
by row from then on; a row that kills alone, twice, is at fault and not tried again. Twice, because
a process may also be killed from outside, or cut off from Redis, while it works on a sound row.

    killed by     the next careful attempt
    a piece       takes its rows one by one
    a row alone   takes it alone once more
    it again      leaves it out: the row has an error, all others are scored

Pure: what a death teaches and which rows to take together. What is not about rows (loading the
model, reading a page) is tried `MAX_LOST` times.
"""

from collections.abc import Iterator
from typing import Literal

from schemas.job import Record

# Rows scored together in a careful attempt: small enough to leave room for what memory they take,
# and few enough to be taken one by one.
PIECE_ROWS = 32
# Careful attempts that may end their process: three for each row at fault.
MAX_DEATHS = 48
# Of these, those that ended it outside of any row.
MAX_LOST = 3

Stage = Literal["opening", "reading", "scoring", "writing"]


class Place(Record):
    """What a careful attempt is about to do.

    Attributes:
        stage: Opening job and model, reading a row group, scoring rows or writing the result.
        start: First row it is about, counted within the file.
        stop: The row after the last one.
        row_group: The row group that is being read.
    """

    stage: Stage
    start: int = 0
    stop: int = 0
    row_group: int | None = None

    def __str__(self) -> str:
        """Say it in words."""
        group = "" if self.row_group is None else f" row group {self.row_group},"
        rows = f" rows {self.start} to {self.stop - 1}" if self.stop > self.start else ""
        return f"{self.stage}{group}{rows}"


OPENING = Place(stage="opening")
WRITING = Place(stage="writing")


class Trail(Record):
    """What is known of a chunk that kills its process.

    Attributes:
        at: What the attempt under way does; None once it has ended in an orderly way.
        deaths: Careful attempts that ended their process.
        lost: Those of them that were not scoring rows.
        died_at: What the last of them was doing.
        suspects: Rows [start, stop) that killed when they were scored together.
        bad: Rows that killed alone, twice.
    """

    at: Place | None = None
    deaths: int = 0
    lost: int = 0
    died_at: Place | None = None
    suspects: tuple[tuple[int, int], ...] = ()
    bad: tuple[int, ...] = ()

    @property
    def hopeless(self) -> bool:
        """Whether the chunk should not be tried any more."""
        return self.deaths >= MAX_DEATHS or self.lost >= MAX_LOST

    def __str__(self) -> str:
        """Say in words what is known."""
        bad = f"; rows that kill it: {', '.join(map(str, sorted(self.bad)))}" if self.bad else ""
        return f"{self.deaths} careful attempts killed it, the last one while {self.died_at}{bad}"


def after_death(trail: Trail) -> Trail:
    """Return what the death of an attempt teaches that had got to `trail.at`."""
    place = trail.at
    if place is None:
        return trail
    lost, suspects, bad = trail.lost, trail.suspects, trail.bad
    rows = (place.start, place.stop)
    if place.stage != "scoring":
        lost += 1
    elif rows not in suspects:
        suspects = (*suspects, rows)
    else:  # rows of a suspect are taken one by one, so this is one
        bad = (*bad, place.start)
    return Trail(
        deaths=trail.deaths + 1, lost=lost, died_at=place, suspects=suspects, bad=bad, at=None
    )


def pieces(trail: Trail, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the rows from `start` to `stop` in pieces [start, stop) to be scored together."""
    alone = {row for first, end in trail.suspects for row in range(first, end)}
    while start < stop:
        end = start + 1
        while start not in alone and end < min(stop, start + PIECE_ROWS) and end not in alone:
            end += 1
        yield start, end
        start = end
