"""What a run has measured, as it is stored, and the rates and ratios that follow from it.

A figure is a median over rounds, a ratio is taken within each round: rivals that are measured one
after the other have met the same machine. Slices in which other programs had more than a few
percent of the processors do not count where there are others.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

Precision = Literal["fp32", "bf16", "int8"]

# Share of the processor time that other programs may have had in a slice that counts.
FOREIGN_LIMIT = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One contender scoring all documents once.

    Attributes:
        contender: Its name.
        round: In which round, from 0.
        seconds: By the clock.
        cpu_seconds: Of processor time, over all threads and children.
        foreign: Share of the machine's processor time that other programs had.
        peak_rss_mb: Most memory its process has held since it started.
    """

    contender: str
    round: int
    seconds: float
    cpu_seconds: float
    foreign: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What the processor does in plain products of the model's shapes, [GFLOP/s]."""

    precision: Precision
    round: int
    gflops: float
    foreign: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contender as it took part: what the tables call it, and what became of it.

    Attributes:
        group: What it is compared as, such as `ours` or `pipeline`.
        skipped: Why it did not run.
        same_labels: Share of documents that get the label of the reference.
    """

    name: str
    title: str
    group: str
    precision: Precision
    skipped: str | None = None
    same_labels: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The documents of a run: how many, how long in tokens, how much work."""

    source: str
    documents: int
    tokens: int
    median_tokens: float
    p90_tokens: float
    truncated: float
    useful_gflop: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that one run has measured."""

    command: str
    date: str
    machine: str
    cores: int
    threads: int
    versions: dict[str, str]
    model: str
    corpus: Corpus
    entrants: list[Entrant] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `save` has written."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            **{
                **fields,
                "corpus": Corpus(**fields["corpus"]),
                "entrants": [Entrant(**entry) for entry in fields["entrants"]],
                "slices": [Slice(**entry) for entry in fields["slices"]],
                "peaks": [Peak(**entry) for entry in fields["peaks"]],
            }
        )

    def of(self, contender: str) -> list[Slice]:
        """Return the slices of a contender, by round."""
        return [slice_ for slice_ in self.slices if slice_.contender == contender]

    def ran(self, group: str | None = None) -> list[Entrant]:
        """Return those that ran, or those of one group, in the order of the tables."""
        names = {slice_.contender for slice_ in self.slices}
        return [e for e in self.entrants if e.name in names and group in (None, e.group)]

    def documents_a_second(self, contender: str) -> float:
        """Return documents by second of the clock."""
        return self.corpus.documents / self._median(contender, lambda s: s.seconds)

    def documents_a_cpu_second(self, contender: str) -> float:
        """Return documents by second of processor time."""
        return self.corpus.documents / self._median(contender, lambda s: s.cpu_seconds)

    def tokens_a_second(self, contender: str) -> float:
        """Return tokens, padding not counted, by second of the clock."""
        return self.corpus.tokens / self._median(contender, lambda s: s.seconds)

    def useful_gflops(self, contender: str) -> float:
        """Return useful GFLOP/s."""
        return self.corpus.useful_gflop / self._median(contender, lambda s: s.seconds)

    def peak_rss_mb(self, contender: str) -> float:
        """Return the most memory that its process has held."""
        return max(s.peak_rss_mb for s in self.of(contender))

    def peak_gflops(self, precision: Precision) -> float | None:
        """Return the matrix rate in a precision, None where it was not measured."""
        peaks = [peak for peak in self.peaks if peak.precision == precision]
        return statistics.median(p.gflops for p in quiet(peaks)) if peaks else None

    def faster(self, contender: str, than: str) -> "Ratio":
        """Return how many times as fast as another a contender is."""
        return faster(self.of(contender), self.of(than))

    def best(self, group: str) -> str | None:
        """Return the fastest contender of a group, None when none of it ran."""
        names = [entrant.name for entrant in self.ran(group)]
        return max(names, key=self.documents_a_second, default=None)

    def _median(self, contender: str, figure: Callable[[Slice], float]) -> float:
        return statistics.median(map(figure, quiet(self.of(contender))))


Measured = TypeVar("Measured", Slice, Peak)


class Ratio(NamedTuple):
    """A ratio over the rounds: its median and its spread.

    Attributes:
        disturbed: No round was quiet for both, so that all rounds count.
    """

    median: float
    low: float
    high: float
    disturbed: bool

    def __str__(self) -> str:
        mark = "*" if self.disturbed else ""
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f}){mark}"  # noqa: RUF001


def is_quiet(measured: Slice | Peak) -> bool:
    """Say whether other programs left the machine alone."""
    return measured.foreign <= FOREIGN_LIMIT


def quiet(measured: Sequence[Measured]) -> Sequence[Measured]:
    """Return what was measured on a quiet machine; everything where nothing was."""
    return [one for one in measured if is_quiet(one)] or measured


def faster(slices: Iterable[Slice], than: Iterable[Slice]) -> Ratio:
    """Return how many times as fast as the others the first are, by the clock, round by round.

    Raises:
        ValueError: They have no round in common.
    """
    theirs = {slice_.round: slice_ for slice_ in than}
    pairs = [(mine, theirs[mine.round]) for mine in slices if mine.round in theirs]
    if not pairs:
        raise ValueError("no round in common: nothing to compare")
    counted = [pair for pair in pairs if all(map(is_quiet, pair))]
    ratios = [other.seconds / mine.seconds for mine, other in counted or pairs]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), disturbed=not counted)
