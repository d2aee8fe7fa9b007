"""Parquet in, Parquet out, over Redis and Celery: how much of the bare engine's speed is left.

    python benchmarks/end_to_end.py [--chunk-seconds 20] [--chunks 4] [--rounds 5] [--moto]
    python benchmarks/end_to_end.py --device-tokens-per-second 100000 [--workers 2]

Each round scores a job through workers that are up, from the first message sent to the last chunk
entered in the ledger, and the same token ids by an engine in this process; whoever begins changes
from round to round, and the ratio is that of their times. The trace of the workers says what they
did while the engine stood still.

With `--device-tokens-per-second` no model runs: the engine waits for a device of that rate, there
and here. So it is seen how much is hidden behind a GPU of such a speed, on a machine without one.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.speed.models import MODELS
from benchmarks.support.idle import BUSY, Steps, steps
from benchmarks.support.jobs import running_worker, score_job, worker_environment
from benchmarks.support.moto import moto_bucket
from benchmarks.support.texts import texts_of, with_new_words, words_met_once
from benchmarks.support.traced_worker import (
    ATTEMPT,
    ENGINE,
    RATE_VARIABLE,
    SimulatedEngine,
    Span,
    read_spans,
)
from producer.deployment import Deployment
from producer.embedded_broker import EmbeddedBroker
from producer.manifest import create_job
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.manifest import read_chunks
from schemas.model_files import pin_model
from worker.engine import Engine
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.reader import CPU_WINDOW, GPU_WINDOW, read_windows
from worker.result_rows import tokenize

Window = list[NDArray[np.int32]]

# Texts that a job is made of; where it has more, they come again with other words in the place of
# those that come once, so that a job does not meet fewer new words than a corpus of its size.
TEXTS = 20_000
TRIED_TEXTS = 200
WARM_UP_SECONDS = 180.0
PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Tokens and times of one round, in seconds; `cpu` ones are of the processors."""

    tokens: int
    bare: float
    bare_cpu: float
    job: float
    job_cpu: float
    steps: Steps

    @property
    def ratio(self) -> float:
        """Speed of the whole as a share of the engine's."""
        return self.bare / self.job


def main() -> None:
    """Run the rounds and print what is left, and where the rest went."""
    options = arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= worker_environment(folder, threads=options.threads, device=options.device)
        os.environ[RATE_VARIABLE] = str(options.device_tokens_per_second or "")
        place = stack.enter_context(moto_bucket()) if options.moto else str(folder)
        broker = EmbeddedBroker(folder / "broker", persistent=False)
        os.environ["BULKSCORE_REDIS_URL"] = stack.enter_context(broker).url
        bench = Bench(folder, place, options)
        logs = [folder / f"worker-{number}.log" for number in range(options.workers)]
        workers = [stack.enter_context(running_worker(log)) for log in logs]
        bench.warm_up()
        rounds = [bench.round(number, workers) for number in range(options.rounds)]
    report(rounds, bench)
    if options.json:
        options.json.write_text(json.dumps(summary(rounds, bench), indent=2))


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunk-seconds", type=float, default=5, help="work in one chunk")
    parser.add_argument("--chunks", type=int, default=2, help="chunks of a round, for each worker")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="workers that share the device")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is one per core")
    parser.add_argument("--model", choices=MODELS, default="minilm")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--device-tokens-per-second", type=float)
    parser.add_argument("--moto", action="store_true", help="corpus and output on an S3 server")
    parser.add_argument("--corpus", type=Path, help="Parquet file with a column `text`")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


class Bench:
    """A corpus, a model and an engine; jobs over the corpus, and the engine alone on its tokens."""

    def __init__(self, folder: Path, place: str, options: argparse.Namespace) -> None:
        self.options = options
        self.deployment = Deployment.from_environment()
        self._storage = self.deployment.storage
        self._folder, self._place = folder, place
        self._texts = texts_of(options.corpus, TEXTS)
        self._once = words_met_once(self._texts)
        MODELS[options.model](folder / "model")
        self._pin: ModelPin = pin_model(self._storage, str(folder / "model"))
        self._model: LoadedModel = load_model(
            ModelStore(self._storage, folder / "models"),
            self._pin,
            device=options.device,
            dtype=options.dtype,
            threads=options.threads,
        )
        rate = options.device_tokens_per_second
        self.engine: Engine = (
            SimulatedEngine(2, rate, folder / "trace") if rate else self._model.engine
        )
        self.chunks = options.chunks * options.workers
        self.chunk_rows = max(1, round(options.chunk_seconds * self._rows_per_second()))
        rows = self.chunks * self.chunk_rows
        for number in range(options.rounds):
            self._write(f"corpus-{number}", self.chunks, self.chunk_rows, number * rows)
        self._write("warm-up", 4 * options.workers, 32)

    def warm_up(self) -> None:
        """Score small jobs until every worker has loaded its model."""
        deadline = time.monotonic() + WARM_UP_SECONDS
        number = 0
        while len(self._working()) < self.options.workers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no work from all workers within {WARM_UP_SECONDS} s")
            self._job("warm-up", f"warm-up-{number}")
            number += 1
        self.forward(list(islice(self._windows("warm-up"), 1)))

    def round(self, number: int, workers: Sequence[psutil.Process]) -> Round:
        """Run both sides once, over texts of their own."""
        corpus = f"corpus-{number}"
        windows = list(self._windows(corpus))
        sides: list[Callable[[], Any]] = [
            lambda: measured(lambda: self.forward(windows), [psutil.Process()]),
            lambda: measured(lambda: self._job(corpus, f"round-{number}"), workers),
        ]
        order = (0, 1) if number % 2 == 0 else (1, 0)
        done = {side: sides[side]() for side in order}
        _, bare, bare_cpu = done[0]
        (start, _), _, job_cpu = done[1]
        spans = self._spans_since(start)
        end = max(span.end for span in spans if span.name == ATTEMPT)
        return Round(
            tokens=sum(len(ids) for window in windows for ids in window),
            bare=bare,
            bare_cpu=bare_cpu,
            job=end - start,
            job_cpu=job_cpu,
            steps=steps(spans, start, end, self.chunks),
        )

    def forward(self, windows: Sequence[Window]) -> None:
        """Let the engine score windows, one after the other."""
        for window in windows:
            self.engine.forward(window)

    def _rows_per_second(self) -> float:
        """Return how fast the engine is on some of the texts."""
        found = self._model.tokenizer.encode(self._texts[:TRIED_TEXTS]).ids
        if self.options.device_tokens_per_second:
            mean_tokens = sum(map(len, found)) / len(found)
            return float(self.options.device_tokens_per_second / mean_tokens)
        self.engine.forward(found)
        began = time.perf_counter()
        self.engine.forward(found)
        return len(found) / (time.perf_counter() - began)

    def _write(self, name: str, files: int, rows: int, start: int = 0) -> None:
        """Write a corpus of files that are a chunk each, from the text `start` on."""
        for number in range(files):
            first = start + number * rows
            texts = [self._text(first + n) for n in range(rows)]
            table = pa.table({"id": range(first, first + rows), "text": texts})
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd", row_group_size=10_000)
            self._storage.replace(
                f"{self._place}/{name}/{number}.parquet", sink.getvalue().to_pybytes()
            )

    def _text(self, number: int) -> str:
        """Return a text; when all were there, they come again with new words."""
        turn, place = divmod(number, len(self._texts))
        return with_new_words(self._texts[place], self._once, turn)

    def _create(self, corpus: str, job_id: str) -> Manifest:
        spec = JobSpec(
            inputs=(f"{self._place}/{corpus}",),
            output=f"{self._place}/scored/{job_id}",
            model=self._pin.uri,
            text_column="text",
            id_columns=("id",),
            dtype=self.options.dtype,
            # More than a file has: none is cut, and files are never put together.
            chunk_rows=2 * self.chunk_rows,
        )
        return create_job(self._storage, spec, self._pin, job_id=job_id)

    def _windows(self, corpus: str) -> Iterator[Window]:
        """Yield the token ids that the engine gets of each window of a job."""
        manifest = self._create(corpus, f"tokens-{corpus}")
        table = read_chunks(self._storage, manifest)
        on_gpu = self.engine.device.startswith("cuda")
        for chunk in (table[number] for number in range(len(table))):
            file = manifest.files[chunk.file]
            for window in read_windows(
                self._storage,
                file,
                chunk,
                text_column="text",
                id_columns=(),
                size=GPU_WINDOW if on_gpu else CPU_WINDOW,
            ):
                yield tokenize(window, [self._model.tokenizer], "truncate").texts[0].ids

    def _job(self, corpus: str, job_id: str) -> tuple[float, float]:
        return score_job(self.deployment, self._create(corpus, job_id))

    def _spans_since(self, start: float) -> list[Span]:
        """Return the spans of a job; its last attempt ends after the ledger knows of it."""
        while True:
            spans = [span for span in read_spans(self._folder / "trace") if span.start >= start]
            if sum(span.name == ATTEMPT for span in spans) >= self.chunks:
                return spans
            time.sleep(PAUSE_SECONDS)

    def _working(self) -> set[int]:
        spans = read_spans(self._folder / "trace")
        return {span.process for span in spans if span.name == ENGINE}


def measured(
    call: Callable[[], Any], processes: Sequence[psutil.Process]
) -> tuple[Any, float, float]:
    """Return what a call returns, its seconds, and those of the processors in some processes."""
    before, began = cpu_seconds(processes), time.perf_counter()
    result = call()
    return result, time.perf_counter() - began, cpu_seconds(processes) - before


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the processor seconds of processes and all below them."""
    all_of_them = [p for top in processes for p in (top, *top.children(recursive=True))]
    return sum(sum(process.cpu_times()[:2]) for process in all_of_them)


def summary(rounds: Sequence[Round], bench: Bench) -> dict[str, Any]:
    """Return the figures as plain values."""
    options = {k: v for k, v in vars(bench.options).items() if k not in ("json", "corpus")}
    ratios = [round.ratio for round in rounds]
    return {
        "options": options,
        "chunks": bench.chunks,
        "chunk_rows": bench.chunk_rows,
        "tokens": [round.tokens for round in rounds],
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cpu_ratios": [round.job_cpu / round.bare_cpu for round in rounds],
        "bare_tokens_per_second": [round.tokens / round.bare for round in rounds],
        "tokens_per_second": [round.tokens / round.job for round in rounds],
        "shares": averages([round.steps.shares for round in rounds]),
        "seconds_a_chunk": averages([round.steps.seconds for round in rounds]),
    }


def averages(tables: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each entry."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: sum(table.get(name, 0.0) for table in tables) / len(tables) for name in names}


def report(rounds: Sequence[Round], bench: Bench) -> None:
    """Print the figures."""
    found = summary(rounds, bench)
    ratios, cpu = found["ratios"], found["cpu_ratios"]
    print(
        f"{len(rounds)} rounds of {bench.chunks} chunks of {bench.chunk_rows:,} rows, "
        f"{rounds[0].tokens / bench.chunks:,.0f} tokens; {bench.options.workers} worker(s), "
        f"{bench.engine.device}, {bench.engine.dtype}\n"
    )
    print(
        f"{'bare engine, tokens/s':<40}{statistics.median(found['bare_tokens_per_second']):>10,.0f}"
    )
    print(f"{'end to end, tokens/s':<40}{statistics.median(found['tokens_per_second']):>10,.0f}")
    spread = f"({min(ratios):.1%} to {max(ratios):.1%})"
    print(f"{'of the speed of the bare engine':<40}{found['ratio']:>10.1%}  {spread}")
    spread = f"({min(cpu):.2f} to {max(cpu):.2f})"
    print(f"{'of its processor seconds':<40}{statistics.median(cpu):>10.2f}  {spread}")
    print(f"\n{'share of the time in which':<40}")
    for name, share in sorted(found["shares"].items(), key=lambda pair: pair[0] != BUSY):
        print(f"  {name:<38}{share:>10.2%}")
    print(f"\n{'a chunk takes, in part at the same time':<40}{'ms':>10}")
    for name, seconds in sorted(found["seconds_a_chunk"].items(), key=lambda pair: -pair[1]):
        print(f"  {name:<38}{1_000 * seconds:>10.1f}")


if __name__ == "__main__":
    main()
