"""What a run writes down: a line for each fault and each job, and a table of recovery times."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(kw_only=True)
class Strike:
    """A fault that struck.

    Attributes:
        number: Of the fault within the run, counted from 1.
        fault: Its name.
        job: The job that ran.
        at_seconds: When it struck, since the run began.
        fault_seconds: How long it lasted until it was healed.
        next_result_seconds: From the healing to the next new result; None when none was missing.
        under_way: Chunks that were being scored when it struck, but for those that earlier
            strikes had hit.
        under_way_seconds: From the strike to the last of their results.
    """

    number: int
    fault: str
    job: str
    at_seconds: float
    fault_seconds: float = 0.0
    next_result_seconds: float | None = None
    under_way: list[int] = field(default_factory=list)
    under_way_seconds: float | None = None


@dataclass(kw_only=True)
class JobRecord:
    """A job that was checked; `attempts` says how many chunks took how many attempts."""

    job: str
    seconds: float
    rows: int
    attempts: dict[int, int]
    poisoned_rows: int
    findings: list[str]


@dataclass(kw_only=True)
class Report:
    """All of a run; `findings` is empty when nothing was lost and nothing came twice."""

    seed: int
    strikes: list[Strike] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    worker_starts: int = 0
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Write JSON lines: the strikes, the jobs, the run."""
        path.parent.mkdir(parents=True, exist_ok=True)
        run = {
            "seed": self.seed,
            "faults": len(self.strikes),
            "seconds": round(self.seconds, 1),
            "worker_starts": self.worker_starts,
            "findings": self.findings,
        }
        records: list[dict[str, Any]] = [*map(asdict, self.strikes), *map(asdict, self.jobs), run]
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")

    def table(self) -> str:
        """Return recovery times by fault, and what was found."""
        lines = [
            f"{'fault':<22} {'times':>5} {'lasted':>8} {'next result after':>19} "
            f"{'chunks under way done':>23}",
            f"{'':<22} {'':>5} {'median':>8} {'median':>11} {'most':>7} {'median':>15} {'most':>7}",
        ]
        for name in sorted({strike.fault for strike in self.strikes}):
            of_kind = [strike for strike in self.strikes if strike.fault == name]
            lines.append(
                f"{name:<22} {len(of_kind):>5} "
                f"{_median([s.fault_seconds for s in of_kind]):>8} "
                f"{_median([s.next_result_seconds for s in of_kind]):>11} "
                f"{_most([s.next_result_seconds for s in of_kind]):>7} "
                f"{_median([s.under_way_seconds for s in of_kind]):>15} "
                f"{_most([s.under_way_seconds for s in of_kind]):>7}"
            )
        attempts: Counter[int] = Counter()
        for job in self.jobs:
            attempts.update(job.attempts)
        spread = ", ".join(f"{n} x {count}" for n, count in sorted(attempts.items()))
        lines += [
            "",
            f"seed {self.seed}: {len(self.strikes)} faults in {self.seconds:.0f} s, "
            f"{len(self.jobs)} jobs, {sum(job.rows for job in self.jobs)} rows, "
            f"{self.worker_starts} starts of workers",
            f"attempts x chunks: {spread or '-'}",
            *(f"FOUND: {finding}" for finding in self.findings),
            "nothing lost, nothing twice" if not self.findings else "NOT AS PROMISED",
        ]
        return "\n".join(lines)


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else "-"


def _most(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.1f}" if known else "-"
