"""What workers did while their engine stood still, by their spans."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.support.traced_worker import ATTEMPT, ENGINE, Span

BUSY = "the engine works"
FIRST = "before the first window of a chunk"
BETWEEN = "between two windows of a chunk"
LAST = "after the last window of a chunk"
OUTSIDE = "between two attempts"
# When several workers wait, the one that is closest to giving the engine work is to blame.
PHASES = (BUSY, BETWEEN, FIRST, LAST)


@dataclass(frozen=True, slots=True)
class Steps:
    """Where the time of a run went.

    Attributes:
        shares: Of the whole time, by what the engine did or waited for; they sum to 1.
        seconds: Of each step a chunk, wherever it overlaps with others.
    """

    shares: dict[str, float]
    seconds: dict[str, float]


def steps(spans: Sequence[Span], start: float, end: float, chunks: int) -> Steps:
    """Return where the time from `start` to `end` went; all workers have one device."""
    spans = [span for span in spans if start <= span.start < end]
    phases = [phase for span in spans if span.name == ATTEMPT for phase in _phases(span, spans)]
    borders = {time for begin, stop, _ in phases for time in (begin, stop) if start < time < end}
    shares: defaultdict[str, float] = defaultdict(float)
    for begin, stop in pairwise(sorted({start, *borders, end})):
        here = {name for first, last, name in phases if first <= begin and stop <= last}
        name = next((phase for phase in PHASES if phase in here), OUTSIDE)
        shares[name] += (stop - begin) / (end - start)
    seconds: defaultdict[str, float] = defaultdict(float)
    for span in spans:
        seconds[span.name] += (span.end - span.start) / chunks
    return Steps(shares=dict(shares), seconds=dict(seconds))


def _phases(attempt: Span, spans: Sequence[Span]) -> Iterator[tuple[float, float, str]]:
    """Yield begin, end and name of the phases of an attempt."""
    forwards = [
        span
        for span in spans
        if span.name == ENGINE
        and span.process == attempt.process
        and attempt.start <= span.start < attempt.end
    ]
    if not forwards:
        yield attempt.start, attempt.end, FIRST
        return
    yield attempt.start, forwards[0].start, FIRST
    for forward in forwards:
        yield forward.start, forward.end, BUSY
    for before, after in pairwise(forwards):
        yield before.end, after.start, BETWEEN
    yield forwards[-1].end, attempt.end, LAST
