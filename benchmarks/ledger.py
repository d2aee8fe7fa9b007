"""Measures the ledger: its memory for a job of many chunks, and the time of every move.

    python benchmarks/ledger.py [--chunks 1000000] [--moves 5000]

Runs against a private server on this machine; a round trip to it is part of every time.
"""

import argparse
import functools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from producer.embedded_broker import EmbeddedBroker
from schemas.dead_letter import AttemptRecord
from schemas.ledger import Ledger
from schemas.redis_connection import connect
from schemas.results import ResultAccount
from schemas.settings import BrokerSettings
from schemas.states import ChunkState

JOB = "benchmark"
WINDOW = 256
LEASE_MS = 3_600_000
ROWS = 2_000


def main() -> None:
    """Run all cases and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--moves", type=int, default=5_000, help="how often a move is timed")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedBroker(Path(folder) / "broker", persistent=False) as broker,
    ):
        settings = BrokerSettings(redis_url=broker.url, redis_socket_timeout_seconds=60)
        Bench(settings, options.chunks, options.moves).run()


class Bench:
    """One job in a server of its own."""

    def __init__(self, settings: BrokerSettings, chunks: int, moves: int) -> None:
        self.ledger = Ledger(settings)
        self.redis = connect(settings)
        self.chunks = chunks
        self.moves = min(moves, chunks // 8)

    def run(self) -> None:
        """Take the job through its life, and measure on the way."""
        print(f"job of {self.chunks:,} chunks, window of {WINDOW}\n")
        print(f"{'memory':<48}{'MB':>9}{'bytes a chunk':>15}")
        base = self.memory()
        opened = self.seconds(self.open)
        self.report_memory("all chunks queued", base)
        times = self.time_an_attempt()
        self.report_memory(f"{self.moves:,} chunks in work", base)
        times |= self.time_the_ends()
        filled = self.seconds(self.fill_due)
        self.report_memory(f"{self.ledger_size('due'):,} chunks back off with a history", base)
        self.print_times(times)
        self.print_whole(opened, filled)

    # The moves of one attempt

    def open(self) -> None:
        """Enter the job."""
        self.enter(None)

    def enter(self, states: list[ChunkState] | None) -> None:
        self.ledger.open(
            JOB,
            output="s3://lake/scored",
            priority="normal",
            chunks=self.chunks,
            rows=self.chunks * ROWS,
            states=states,
        )

    def time_an_attempt(self) -> dict[str, list[float]]:
        """Time what every chunk of every job meets, as the chunks are claimed."""
        claims: list[float] = []
        begins: list[float] = []
        chunks: list[int] = []
        while len(chunks) < self.moves:
            took, claimed = self.timed(self.claim)
            claims.append(took)
            begins += self.each(self.begin, claimed)
            chunks += claimed
        beats = self.each(self.heartbeat, chunks)
        full = self.repeated(self.claim_nothing)
        return {
            f"claim of {WINDOW} chunks": claims,
            "claim, window full": full,
            "begin": begins,
            "heartbeat": beats,
            "sweep, nothing expired": self.repeated(lambda: self.ledger.sweep(JOB)),
            "status": self.repeated(lambda: self.ledger.status(JOB)),
        }

    def time_the_ends(self) -> dict[str, list[float]]:
        """Time the three ways an attempt ends, a third of the chunks each."""
        third = self.moves // 3
        ways: dict[str, Callable[[int], object]] = {
            "finish": lambda c: self.ledger.finish(JOB, c, account_of(c)),
            "retry": self.retry,
            "bury": lambda c: self.ledger.bury(
                JOB, c, token=str(c), code="input_corrupt", rows=ROWS
            ),
        }
        return {
            name: self.each(way, range(number * third, (number + 1) * third))
            for number, (name, way) in enumerate(ways.items())
        }

    def fill_due(self) -> None:
        """Let as many chunks back off as the ledger takes before it queues no fresh ones."""
        while chunks := self.claim():
            for chunk in chunks:
                self.begin(chunk)
                self.retry(chunk)

    # One call each

    def claim(self) -> list[int]:
        return self.ledger.claim(JOB, window=WINDOW, grace_ms=LEASE_MS, missing=0)

    def claim_nothing(self) -> list[int]:
        return self.ledger.claim(JOB, window=0, grace_ms=LEASE_MS, missing=0)

    def begin(self, chunk: int) -> None:
        self.ledger.begin(
            JOB,
            chunk,
            token=str(chunk),
            worker=f"gpu-node-{chunk % 64:02}-a1b2c3",
            lease_ms=LEASE_MS,
            max_attempts=4,
        )

    def heartbeat(self, chunk: int) -> None:
        self.ledger.heartbeat(JOB, chunk, token=str(chunk), lease_ms=LEASE_MS)

    def retry(self, chunk: int) -> None:
        self.ledger.retry(JOB, chunk, token=str(chunk), delay_ms=LEASE_MS, record=FAILED)

    # Measuring

    def timed(self, call: Callable[[], object]) -> tuple[float, list[int]]:
        began = time.perf_counter()
        answer = call()
        return time.perf_counter() - began, answer if isinstance(answer, list) else []

    def each(self, call: Callable[[int], object], chunks: Iterable[int]) -> list[float]:
        return [self.timed(functools.partial(call, chunk))[0] for chunk in chunks]

    def repeated(self, call: Callable[[], object]) -> list[float]:
        return [self.timed(call)[0] for _ in range(self.moves // 10)]

    def seconds(self, call: Callable[[], object]) -> float:
        return self.timed(call)[0]

    def memory(self) -> int:
        return int(self.redis.info("memory")["used_memory"])

    def ledger_size(self, kind: str) -> int:
        return int(self.redis.zcard(f"bulkscore:{kind}:{JOB}"))

    def report_memory(self, what: str, base: int) -> None:
        used = self.memory() - base
        print(f"{what:<48}{used / 1e6:>9.1f}{used / self.chunks:>15.2f}")

    def print_times(self, times: dict[str, list[float]]) -> None:
        print(f"\n{'one move':<34}{'median ms':>11}{'99 % ms':>10}{'a second':>12}{'calls':>8}")
        for name, took in times.items():
            slow = sorted(took)[math.ceil(0.99 * len(took)) - 1]
            rate = len(took) / sum(took)
            print(
                f"{name:<34}{statistics.median(took) * 1e3:>11.3f}{slow * 1e3:>10.3f}"
                f"{rate:>12,.0f}{len(took):>8,}"
            )

    def print_whole(self, opened: float, filled: float) -> None:
        """Print the moves that look at a whole job."""
        whole: Iterable[tuple[str, Callable[[], object]]] = (
            ("states of all chunks", lambda: self.ledger.states(JOB)),
            ("cancel", lambda: self.ledger.cancel(JOB)),
            ("reopen all, in slices", self.reopen_all),
            ("forget", lambda: self.ledger.forget(JOB)),
            ("open with all but the last succeeded", self.open_restored),
            ("claim that looks past all of them", self.claim),
        )
        print(f"\n{'the whole job at once':<48}{'seconds':>9}")
        print(f"{'open':<48}{opened:>9.3f}")
        print(f"{'back off until nothing fresh is queued':<48}{filled:>9.3f}")
        for name, call in whole:
            print(f"{name:<48}{self.seconds(call):>9.3f}")

    def reopen_all(self) -> None:
        self.ledger.reopen(JOB, range(self.chunks), generation=1)

    def open_restored(self) -> None:
        self.enter([ChunkState.SUCCEEDED] * (self.chunks - 1) + [ChunkState.QUEUED])


def account_of(chunk: int) -> ResultAccount:
    """Return the account of a result with one kind of error."""
    return ResultAccount(
        job_id=JOB,
        chunk=chunk,
        generation=0,
        attempt=1,
        model="sentiment@3",
        model_digest="0" * 64,
        rows=ROWS,
        rows_scored=ROWS - 3,
        errors={"text_null": 3},
        tokens=200_000,
        truncated_rows=12,
        seconds=1.5,
        worker="gpu-node-01-a1b2c3",
        device="cuda:0",
        dtype="bf16",
        libraries={},
    )


FAILED = AttemptRecord.model_validate(
    {
        "number": 1,
        "worker": "gpu-node-01-a1b2c3",
        "code": "storage_unavailable",
        "message": "s3://lake/corpus/000001.parquet: storage does not answer (ReadTimeoutError)",
        "at": "2026-01-02T03:04:05Z",
    }
)


if __name__ == "__main__":
    main()
