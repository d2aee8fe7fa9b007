"""What a chunk costs beside its work: chunks of one row, a model of next to no work, local files.

    python benchmarks/chunk_cost.py [--chunks 300] [--profile] [--json FILE]

First in this process, from the message to the finished entry in the ledger: attempt begun, result
looked for, rows read, tokenized, scored, written and created with its checksum, ended. Then by a
worker, from the beginning of one attempt to that of the next, so that Celery and the queue are in
it as well.
"""

import argparse
import cProfile
import json
import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from benchmarks.support.jobs import running_worker, score_job, worker_environment
from benchmarks.support.traced_worker import ATTEMPT, read_spans
from producer.deployment import Deployment
from producer.embedded_broker import EmbeddedBroker
from producer.manifest import create_job
from schemas.job import JobSpec, Manifest
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
SHARES = (0.05, 0.5, 0.95)


def main() -> None:
    """Score a job of tiny chunks and print what one of them costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=300)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedBroker(Path(name) / "broker", persistent=False) as broker,
    ):
        folder, chunks = Path(name), WARM_UP_CHUNKS + options.chunks
        os.environ["BULKSCORE_REDIS_URL"] = broker.url
        os.environ["BULKSCORE_WINDOW_CHUNKS"] = str(chunks)
        model = save_classifier(folder / "model")
        write_corpus(folder, chunks)
        costs = {
            "in this process": in_process(folder, model, chunks, profiled=options.profile),
            "by a worker": by_a_worker(folder, model),
        }
    print(f"{options.chunks} chunks of one row, milliseconds each\n")
    print(f"{'':<18}" + "".join(f"{share:>8.0%}" for share in SHARES) + "  take at most")
    for name, each in costs.items():
        print(f"{name:<18}" + "".join(f"{1000 * quantile(each, share):>8.1f}" for share in SHARES))
    if options.json:
        options.json.write_text(json.dumps(costs))


def write_corpus(folder: Path, chunks: int) -> None:
    """Write a file of so many row groups of one row."""
    texts = [f"{TEXT} {number}" for number in range(chunks)]
    pq.write_table(pa.table({"text": texts}), folder / "corpus.parquet", row_group_size=1)


def make_job(folder: Path, model: Path, job_id: str) -> Manifest:
    """Create a job of one row a chunk."""
    spec = JobSpec(
        inputs=(str(folder / "corpus.parquet"),),
        output=str(folder / job_id),
        model=str(model),
        text_column="text",
        chunk_rows=1,
    )
    return create_job(Storage(), spec, pin_model(Storage(), str(model)), job_id=job_id)


def in_process(folder: Path, model: Path, chunks: int, *, profiled: bool) -> list[float]:
    """Return the seconds of each attempt made here, after some to warm up."""
    attempt = attempts(folder, make_job(folder, model, JOB))
    for chunk in range(WARM_UP_CHUNKS):
        attempt(chunk)
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    costs = [timed(attempt, chunk) for chunk in range(WARM_UP_CHUNKS, chunks)]
    profile.disable()
    if profiled:
        profile.print_stats("cumulative")
    return costs


def attempts(folder: Path, manifest: Manifest) -> Attempt:
    """Enter a job, and return what makes an attempt at one of its chunks."""
    storage, ledger = Storage(), Ledger(BrokerSettings())
    ledger.open(
        manifest.job_id,
        output=manifest.spec.output,
        priority="normal",
        chunks=manifest.chunks,
        rows=manifest.rows,
    )
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
        outcome = runner.run(ChunkMessage(job_id=manifest.job_id, chunk=chunk, generation=0))
        assert outcome == "succeeded"

    return attempt


def by_a_worker(folder: Path, model: Path) -> list[float]:
    """Return the seconds from attempt to attempt of a worker, after some to warm up."""
    os.environ |= worker_environment(folder, threads=1, device="cpu")
    with running_worker(folder / "worker.log"):
        score_job(Deployment.from_environment(), make_job(folder, model, "celery"))
    spans = read_spans(folder / "trace")
    starts = [span.start for span in spans if span.name == ATTEMPT]
    return [after - before for before, after in pairwise(starts)][WARM_UP_CHUNKS:]


def save_classifier(folder: Path) -> Path:
    """Save an untrained classifier of two small layers."""
    # A head without weights is what is wanted here.
    transformers_logging.set_verbosity_error()
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
