"""What a chunk costs beside its work: chunks of one row, a model of next to no work, local files.

    python benchmarks/chunk_cost.py [--chunks 300] [--profile]

Measured in this process, from the message to the finished entry in the ledger: attempt begun,
result looked for, rows read, tokenized, scored, written and created with its checksum, ended. What
Celery adds is not in it.
"""

import argparse
import cProfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoModelForSequenceClassification

from producer.embedded_broker import EmbeddedBroker
from producer.manifest import create_job
from schemas.job import JobSpec
from schemas.ledger import Ledger
from schemas.message import ChunkMessage
from schemas.model_files import pin_model
from schemas.settings import BrokerSettings, ScheduleSettings, WorkerSettings
from schemas.storage import Storage
from worker.lifecycle.tiny_encoder import build_tiny_encoder
from worker.model_store import ModelStore
from worker.models import ModelCache
from worker.runner import ChunkRunner

Attempt = Callable[[int], None]

JOB = "benchmark"
TEXT = "a short text of a few words"
WARM_UP_CHUNKS = 5


def main() -> None:
    """Score a job of tiny chunks and print what one of them costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=300)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedBroker(Path(name) / "broker", persistent=False) as broker,
    ):
        attempt = make_job(Path(name), broker.url, WARM_UP_CHUNKS + options.chunks)
        for chunk in range(WARM_UP_CHUNKS):
            attempt(chunk)
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        costs = [timed(attempt, WARM_UP_CHUNKS + n) for n in range(options.chunks)]
        profile.disable()
    if options.profile:
        profile.print_stats("cumulative")
    print(f"{options.chunks} chunks of one row, milliseconds each")
    for share in (0.05, 0.5, 0.95):
        print(f"  {share:>4.0%} take at most {1000 * quantile(costs, share):6.1f}")


def make_job(folder: Path, broker_url: str, chunks: int) -> Attempt:
    """Plan a job of so many chunks, enter it, and return what makes an attempt at one."""
    storage, model, output = Storage(), save_classifier(folder / "model"), folder / "scored"
    corpus = folder / "corpus.parquet"
    texts = [f"{TEXT} {number}" for number in range(chunks)]
    pq.write_table(pa.table({"text": texts}), corpus, row_group_size=1)
    spec = JobSpec(
        inputs=(str(corpus),),
        output=str(output),
        model=str(model),
        text_column="text",
        chunk_rows=1,
    )
    manifest = create_job(storage, spec, pin_model(storage, str(model)), job_id=JOB)
    assert manifest.chunks == chunks
    ledger = Ledger(BrokerSettings(redis_url=broker_url))
    ledger.open(JOB, output=str(output), priority="normal", chunks=chunks, rows=manifest.rows)
    runner = ChunkRunner(
        ledger=ledger,
        storage=storage,
        models=ModelCache(ModelStore(storage, folder / "cache"), capacity=1, threads=1),
        schedule=ScheduleSettings(),
        settings=WorkerSettings(),
        worker="benchmark",
        draining=lambda: False,
    )

    def attempt(chunk: int) -> None:
        outcome = runner.run(ChunkMessage(job_id=JOB, chunk=chunk, generation=0))
        assert outcome == "succeeded"

    return attempt


def save_classifier(folder: Path) -> Path:
    """Save an untrained classifier of two small layers."""
    build_tiny_encoder([TEXT], folder, seed=0)
    labels = {0: "no", 1: "yes"}
    made = AutoModelForSequenceClassification.from_pretrained(folder, id2label=labels)
    made.save_pretrained(folder)
    return folder


def timed(attempt: Attempt, chunk: int) -> float:
    """Return the seconds that an attempt takes."""
    started = time.perf_counter()
    attempt(chunk)
    return time.perf_counter() - started


def quantile(costs: list[float], share: float) -> float:
    """Return what so many of the costs are at most."""
    return sorted(costs)[round(share * (len(costs) - 1))]


if __name__ == "__main__":
    main()
