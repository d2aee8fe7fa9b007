"""Whether a job of ten times the chunks costs ten times as much: the road without the scoring.

    python benchmarks/scaling.py [--sizes 1000,10000,100000] [--workers 1,2,4] [--json FILE]

A job is planned, entered, put on the queue window by window, taken off it, ended chunk by chunk,
summed up and verified by the product's own code, over a private server and on files; left out are
the scoring and Celery. A worker is a process that takes a message, begins, writes a result of one
row and finishes. Seconds are those of the processors, so that more workers than cores can be told
apart; with files in memory (/dev/shm) no disk is in them.
"""

import argparse
import base64
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import redis

from producer.deployment import Deployment
from producer.embedded_broker import EmbeddedBroker
from producer.manifest import create_job
from producer.verify import verify
from schemas import layout
from schemas.chunks import Chunk
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.ledger import Ledger
from schemas.manifest import read_chunks, read_manifest
from schemas.message import ChunkMessage, parse_message, queue_name
from schemas.results import ResultAccount, result_schema
from schemas.resume import resume
from schemas.settings import BrokerSettings
from schemas.states import JobState
from schemas.storage import Storage
from worker.writer import ResultWriter

# Rows of a file of the corpus, each a chunk of its own.
FILE_ROWS = 1_000
LEASE_MS = 3_600_000
PAUSE_SECONDS = 0.002
PIN = ModelPin(
    ref="none",
    name="none",
    uri="none",
    digest="0" * 64,
    files=(),
    model_type="bert",
    problem_type="single_label_classification",
    labels=("no", "yes"),
    max_length=512,
)

Costs = dict[str, float]


def main() -> None:
    """Run every size with the first number of workers, then the first size with the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=numbers, default=numbers("500,4000"), help="chunks")
    parser.add_argument("--workers", type=numbers, default=numbers("1,2"), help="processes")
    parser.add_argument("--folder", type=Path, help="where files lie; /dev/shm if it is there")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    place = options.folder or (memory if memory.is_dir() else None)
    sizes = {size: costs_of(size, options.workers[0], place) for size in options.sizes}
    report_sizes(sizes)
    fleets = {count: costs_of(options.sizes[-1], count, place) for count in options.workers[1:]}
    report_fleets({options.workers[0]: sizes[options.sizes[-1]], **fleets})
    if options.json:
        options.json.write_text(json.dumps({"sizes": sizes, "workers": fleets}, indent=2))


def numbers(text: str) -> list[int]:
    """Parse numbers between commas."""
    return [int(part) for part in text.split(",")]


def costs_of(chunks: int, workers: int, place: Path | None) -> Costs:
    """Take a job of about so many chunks through its life; return seconds a chunk by step."""
    with (
        tempfile.TemporaryDirectory(dir=place) as name,
        EmbeddedBroker(Path(name) / "broker", persistent=False) as broker,
    ):
        os.environ["BULKSCORE_REDIS_URL"] = broker.url
        return Road(Path(name), chunks, workers).costs()


class Road:
    """One job on a server of its own."""

    def __init__(self, folder: Path, chunks: int, workers: int) -> None:
        self._folder, self._workers = folder, workers
        self._deployment = Deployment.from_environment()
        for number in range(0, chunks, FILE_ROWS):
            rows = min(FILE_ROWS, chunks - number)
            table = pa.table({"text": [f"text {n:07}" for n in range(number, number + rows)]})
            path = folder / "corpus" / f"{number:08}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path, row_group_size=1, compression="none")

    def costs(self) -> Costs:
        """Return the seconds of each step a chunk, and chunks a second while workers ran."""
        storage, ledger = self._deployment.storage, self._deployment.ledger
        planned, manifest = cpu_timed(self._plan)
        entered, _ = cpu_timed(lambda: resume(storage, ledger, manifest))
        began, server_before = time.perf_counter(), self._server_cpu()
        queued, ended, worked = self._work(manifest)
        elapsed, server = time.perf_counter() - began, self._server_cpu() - server_before
        state = ledger.status(manifest.job_id).state
        assert state is JobState.SUCCEEDED, state
        verified, outcome = cpu_timed(lambda: verify(storage, manifest.spec.output))
        assert outcome.sound, outcome
        seconds = {
            "plan": planned,
            "enter": entered,
            "reconcile, enqueue": queued,
            "take, begin, result, finish": worked,
            "Redis, all of these": server,
            "end: survey, summary": ended,
            "verify": verified,
        }
        found = {step: spent / manifest.chunks for step, spent in seconds.items()}
        return {**found, "chunks": manifest.chunks, "chunks a second": manifest.chunks / elapsed}

    def _plan(self) -> Manifest:
        spec = JobSpec(
            inputs=(str(self._folder / "corpus"),),
            output=str(self._folder / "scored"),
            model="none",
            text_column="text",
            chunk_rows=1,
        )
        return create_job(self._deployment.storage, spec, PIN, job_id="scaling")

    def _work(self, manifest: Manifest) -> tuple[float, float, float]:
        """Let the workers end every chunk; return the cost of queueing, of the end, of the work."""
        spawn = multiprocessing.get_context("spawn")
        done, spent = spawn.Event(), spawn.Queue()
        arguments = (self._deployment.broker_settings.redis_url, manifest.spec.output, done, spent)
        workers = [spawn.Process(target=work, args=arguments) for _ in range(self._workers)]
        for worker in workers:
            worker.start()
        queued = ended = 0.0
        while not ended:
            self._wait_for_room()
            seconds, passes = cpu_timed(self._deployment.reconciler.run_once)
            if any(made.ended for made in passes):
                ended = seconds
            else:
                queued += seconds
                time.sleep(PAUSE_SECONDS)
        done.set()
        worked = sum(spent.get() for _ in workers)
        for worker in workers:
            worker.join()
        return queued, ended, worked

    def _wait_for_room(self) -> None:
        """Return when half of the window is taken."""
        half = self._deployment.schedule.window_chunks // 2
        while self._deployment.ledger.queue_length("normal") > half:
            time.sleep(PAUSE_SECONDS)

    def _server_cpu(self) -> float:
        with redis.Redis.from_url(self._deployment.broker_settings.redis_url) as client:
            used = client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def work(url: str, output: str, done: Event, spent: "multiprocessing.Queue[float]") -> None:
    """End chunks as their messages come, until told that all are done."""
    storage, ledger = Storage(), Ledger(BrokerSettings(redis_url=url))
    manifest = read_manifest(storage, output)
    chunks = read_chunks(storage, manifest)
    client = redis.Redis.from_url(url)
    began = time.process_time()
    while not done.is_set():
        # As Celery does: the queue is asked, and answers once there is something.
        found: Any = client.brpop([queue_name("normal")], timeout=1)
        if found is not None:
            attempt(storage, ledger, manifest, chunks[_message(found[1]).chunk])
    spent.put(time.process_time() - began)


def _message(body: bytes) -> ChunkMessage:
    _, arguments, _ = json.loads(base64.b64decode(json.loads(body)["body"]))
    return parse_message(arguments["message"])


def attempt(storage: Storage, ledger: Ledger, manifest: Manifest, chunk: Chunk) -> None:
    """Do what an attempt does beside reading and scoring."""
    job_id, token = manifest.job_id, f"{os.getpid()}.{chunk.index}"
    begin = ledger.begin(
        job_id,
        chunk.index,
        token=token,
        worker=f"w{os.getpid()}",
        lease_ms=LEASE_MS,
        max_attempts=4,
    )
    if begin.outcome != "begun":
        return
    uri = layout.result(ledger.status(job_id).output, chunk.index)
    assert not storage.exists(uri)
    account = account_of(manifest, chunk)
    with ResultWriter() as writer:
        writer.write(rows_of(manifest, chunk))
        writer.publish(storage, uri, account)
    ledger.finish(job_id, chunk.index, account)


def rows_of(manifest: Manifest, chunk: Chunk) -> pa.Table:
    """Return result rows as of a model that says yes to everything."""
    columns: dict[str, list[Any]] = {
        "source_file": [manifest.files[chunk.file].uri] * chunk.rows,
        "source_row": list(range(chunk.row_start, chunk.row_start + chunk.rows)),
        "label": ["yes"] * chunk.rows,
        "score": [0.75] * chunk.rows,
        "n_tokens": [4] * chunk.rows,
        "truncated": [False] * chunk.rows,
        "error": [None] * chunk.rows,
    }
    return pa.table(columns, schema=result_schema([], all_scores=False))


def account_of(manifest: Manifest, chunk: Chunk) -> ResultAccount:
    """Return the account of these rows."""
    return ResultAccount(
        job_id=manifest.job_id,
        chunk=chunk.index,
        generation=0,
        attempt=1,
        model=manifest.model.ref,
        model_digest=manifest.model.digest,
        rows=chunk.rows,
        rows_scored=chunk.rows,
        errors={},
        tokens=4 * chunk.rows,
        truncated_rows=0,
        seconds=0.001,
        worker="w",
        device="none",
        dtype="fp32",
        libraries={},
    )


def cpu_timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor seconds of a call in this process, and what it returns."""
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def report_sizes(sizes: dict[int, Costs]) -> None:
    """Print the cost of each step at each size, and the largest beside the smallest."""
    heads = "".join(f"{costs['chunks']:>12,.0f}" for costs in sizes.values())
    print(f"{'ms of processor a chunk, chunks:':<34}{heads}{'last : first':>14}")
    smallest, *_, largest = sizes.values()
    for step in smallest:
        if not step.startswith("chunks"):
            each = "".join(f"{1_000 * costs[step]:>12.3f}" for costs in sizes.values())
            print(f"{step:<34}{each}{largest[step] / smallest[step]:>14.2f}")


def report_fleets(fleets: dict[int, Costs]) -> None:
    """Print how much more several workers do, and what a chunk costs Redis and them."""
    print(f"\n{'workers':<10}{'chunks/s':>10}{'ms of a worker':>16}{'ms of Redis':>13}")
    for count, costs in fleets.items():
        work, server = costs["take, begin, result, finish"], costs["Redis, all of these"]
        rate = costs["chunks a second"]
        print(f"{count:<10}{rate:>10.0f}{1_000 * work:>16.3f}{1_000 * server:>13.3f}")


if __name__ == "__main__":
    main()
