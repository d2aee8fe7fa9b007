"""`bulkscore run`: a job with a stack of its own, to its end, broken off and taken up again."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.sample import damage_text_page
from support.corpora import write_corpus
from support.processes import CompletedCli, RunningCli, run_cli, start_cli
from support.waiting import wait_until

pytestmark = pytest.mark.integration

CHUNK_ROWS = 10
LARGE_ROWS = 3_000


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where one test's corpus, model and result lie; nothing outside is written to."""

    folder: Path
    model: Path

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    @property
    def scored(self) -> Path:
        return self.folder / "scored"

    def write(self, name: str, rows: int) -> Path:
        """Add a file of so many rows, at most `CHUNK_ROWS` of them in a chunk."""
        return write_corpus(
            self.corpus / name,
            rows,
            row_group_rows=CHUNK_ROWS,
            use_dictionary=False,
            write_page_checksum=True,
        )

    def run(self, *options: str) -> CompletedCli:
        return run_cli(*self._words(*options), env=self._environment)

    def start(self, *options: str) -> AbstractContextManager[RunningCli]:
        return start_cli(*self._words(*options), env=self._environment)

    def parts(self) -> dict[str, tuple[int, int]]:
        """Return the results by name, with what changes when one is written anew."""
        found = sorted(self.scored.glob("part-*.parquet"))
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}

    @property
    def is_complete(self) -> bool:
        return (self.scored / "_SUCCESS").exists()

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "BULKSCORE_MODEL_CACHE_DIR": str(self.folder / "models"),
            "BULKSCORE_TORCH_THREADS": "1",
        }

    def _words(self, *options: str) -> list[str]:
        return [
            *("run", "--input", str(self.corpus), "--output", str(self.scored)),
            *("--model", str(self.model), "--text-column", "text", "--id-column", "id"),
            *("--chunk-rows", str(CHUNK_ROWS), "--device", "cpu", *options),
        ]


@pytest.fixture
def bench(tmp_path: Path, bench_model: Path) -> Bench:
    return Bench(folder=tmp_path, model=bench_model)


def break_off(bench: Bench, end: Callable[[RunningCli], None]) -> tuple[RunningCli, int]:
    """Start a run, end it once a few of its many chunks are scored; return it and its exit code."""
    bench.write("large.parquet", LARGE_ROWS)
    with bench.start() as running:
        wait_until(lambda: len(bench.parts()) >= 5, 60, message=lambda: f"results of\n{running}")
        end(running)
        exit_code = running.wait(60)
        wait_until(lambda: not running.processes(), 5, message="the end of what it had started")
    assert not bench.is_complete
    return running, exit_code


def test_a_job_is_scored_in_one_go_and_nothing_of_it_keeps_running(bench: Bench) -> None:
    bench.write("small.parquet", 4 * CHUNK_ROWS)

    with bench.start("--job-id", "nightly") as running:
        exit_code = running.wait(60)
        left = running.processes()

    assert exit_code == 0, running
    assert left == []
    assert running.stdout == "nightly\n"
    assert "nightly: 100%, 40 of 40 rows" in running.stderr
    assert bench.is_complete
    assert {path.name for path in bench.folder.iterdir()} <= {"corpus", "scored", "state", "models"}


@pytest.mark.slow
def test_a_job_that_is_complete_is_not_scored_again(bench: Bench) -> None:
    bench.write("small.parquet", 4 * CHUNK_ROWS)
    bench.run()
    before = bench.parts()

    again = bench.run("--json")

    assert again.exit_code == 0, again
    assert "is complete already" in again.stderr
    assert again.json()["rows_scored"] == 40
    assert bench.parts() == before


@pytest.mark.slow
def test_the_same_output_for_another_corpus_is_refused(bench: Bench) -> None:
    bench.write("small.parquet", 4 * CHUNK_ROWS)
    bench.run()
    bench.write("another.parquet", CHUNK_ROWS)

    refused = bench.run("--max-length", "16")

    assert refused.exit_code == 2, refused
    assert str(bench.scored) in refused.stderr


def test_after_ctrl_c_the_same_command_completes_what_is_missing_and_no_more(
    bench: Bench,
) -> None:
    stopped, exit_code = break_off(bench, lambda running: running.signal_group(signal.SIGINT))
    kept = bench.parts()

    again = bench.run("--json")

    assert exit_code == 130, stopped
    assert "The same command goes on from there" in stopped.stderr
    assert f"bulkscore run --input {bench.corpus}" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert again.exit_code == 0, again
    summary = again.json()
    assert f"{summary['chunks'] - len(kept):,} to score" in again.stderr
    assert summary["rows_scored"] == LARGE_ROWS
    assert bench.is_complete
    assert {name: bench.parts()[name] for name in kept} == kept


@pytest.mark.slow
def test_a_service_manager_stops_it_as_ctrl_c_does(bench: Bench) -> None:
    stopped, exit_code = break_off(bench, lambda running: running.send_signal(signal.SIGTERM))

    assert exit_code == 130, stopped
    assert "Traceback" not in stopped.stderr


def test_a_run_that_is_killed_takes_its_broker_and_its_worker_along(bench: Bench) -> None:
    _, exit_code = break_off(bench, lambda running: running.send_signal(signal.SIGKILL))

    assert exit_code == -signal.SIGKILL


@pytest.mark.slow
def test_a_dead_chunk_is_exit_code_3_and_sent_again_when_asked(bench: Bench) -> None:
    bench.write("a.parquet", 2 * CHUNK_ROWS)
    damaged = bench.write("b.parquet", 2 * CHUNK_ROWS)
    sound, status = damaged.read_bytes(), damaged.stat()
    damage_text_page(damaged)

    first = bench.run("--json")
    letters = run_cli("dead-letters", bench.scored, "--json").json()
    damaged.write_bytes(sound)
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    unasked = bench.run("--json")
    asked = bench.run("--json", "--reprocess")

    assert first.exit_code == 3, first
    assert first.json()["dead_by_code"] == {"input_corrupt": 1}
    assert "bulkscore dead-letters" in first.stderr
    assert [letter["file"]["uri"] for letter in letters] == [str(damaged)]
    assert unasked.exit_code == 3, unasked
    assert "--reprocess" in unasked.stderr
    assert asked.exit_code == 0, asked
    assert asked.json()["rows_scored"] == 4 * CHUNK_ROWS
    assert bench.is_complete


@pytest.mark.slow
def test_a_run_that_its_error_budget_stopped_goes_on_with_another(bench: Bench) -> None:
    corpus = bench.write("a.parquet", 3 * CHUNK_ROWS)
    table = pq.read_table(corpus)
    blank = pa.array([" ", *table["text"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", blank), corpus)

    stopped = bench.run("--max-row-errors", "0")

    assert stopped.exit_code == 4, stopped
    assert "failed, stopped: 1 row with an error, --max-row-errors allows 0" in stopped.stderr
    assert "with a higher --max-row-errors the same command goes on" in stopped.stderr
    kept = bench.parts()

    done = bench.run("--max-row-errors", "10%")

    assert done.exit_code == 0, done
    assert bench.is_complete
    assert kept.items() <= bench.parts().items()
