"""A corpus, a tiny model, a broker and a worker played by hand, for tests of the command line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from producer.sample import damage_text_page
from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from support.commands import run_here
from support.corpora import make_table, write_table
from support.hand_worker import HandWorker
from support.processes import CompletedCli
from support.texts import ordinary_texts

JOB = "nightly"


@dataclass(frozen=True, kw_only=True)
class JobBench:
    """Where everything of one test lies."""

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
        """Options of plan, submit and run for this corpus and model."""
        return [
            *("--input", str(self.corpus)),
            *("--model", str(self.model)),
            *("--text-column", "text"),
            *("--id-column", "id"),
            *("--chunk-rows", "30"),
        ]

    def cli(self, *args: str) -> CompletedCli:
        """Run a command against this broker, in this process."""
        return run_here(*args, env=self.env)

    def submit(self, *args: str) -> CompletedCli:
        """Submit the job, with further options."""
        return self.cli(
            "submit", *self.scoring, "--output", str(self.output), "--job-id", JOB, *args
        )

    def status(self) -> JobStatus:
        """Return where the job is by the ledger."""
        return self.ledger.status(JOB)


@contextmanager
def open_job_bench(
    folder: Path,
    model: Path,
    redis_url: str,
    *,
    texts: Sequence[str | None] = tuple(ordinary_texts(25)),
    files: int = 4,
    damaged: int | None = None,
) -> Iterator[JobBench]:
    """Lay out a corpus of files with these texts each, and a worker that scores when told to.

    Each file is a chunk. The file `damaged` cannot be read: a page of its texts is overwritten.
    """
    corpus = folder / "corpus"
    for number in range(files):
        table = make_table(texts, first_id=len(texts) * number)
        file = corpus / f"{number}.parquet"
        write_table(file, table, use_dictionary=False, write_page_checksum=True)
        if number == damaged:
            damage_text_page(file)
    worker = HandWorker(redis_url, folder / "model-cache")
    try:
        yield JobBench(
            folder=folder, corpus=corpus, model=model, redis_url=redis_url, worker=worker
        )
    finally:
        worker.close()
