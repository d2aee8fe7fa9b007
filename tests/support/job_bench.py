"""A corpus, a tiny model, a broker and a worker played by hand, for tests of the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from support.hand_worker import HandWorker
from support.processes import CompletedCli, run_cli

JOB = "nightly"


@dataclass(frozen=True, kw_only=True)
class JobBench:
    """Where everything of one test lies; `corpus` has 100 rows in 4 files of 25."""

    folder: Path
    corpus: Path
    model: Path
    redis_url: str
    worker: HandWorker

    @property
    def output(self) -> Path:
        """Folder of the result."""
        return self.folder / "scored"

    @property
    def env(self) -> dict[str, str]:
        """Environment of the commands: this broker, and a reconciler that does not dawdle."""
        return {"BULKSCORE_REDIS_URL": self.redis_url, "BULKSCORE_RECONCILE_SECONDS": "0.2"}

    @property
    def ledger(self) -> Ledger:
        """The ledger, looked at from the test."""
        return Ledger(BrokerSettings(redis_url=self.redis_url))

    @property
    def scoring(self) -> list[str]:
        """Options of plan, submit and run for this corpus and model; four chunks."""
        return [
            *("--input", str(self.corpus)),
            *("--model", str(self.model)),
            *("--text-column", "text"),
            *("--id-column", "id"),
            *("--chunk-rows", "30"),
        ]

    def cli(self, *args: str, **options: Any) -> CompletedCli:
        """Run a command against this broker."""
        return run_cli(*args, env=self.env, **options)

    def submit(self, *args: str) -> CompletedCli:
        """Submit the job, with further options."""
        return self.cli(
            "submit", *self.scoring, "--output", str(self.output), "--job-id", JOB, *args
        )

    def status(self) -> JobStatus:
        """Return where the job is by the ledger."""
        return self.ledger.status(JOB)
