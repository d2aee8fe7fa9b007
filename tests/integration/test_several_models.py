"""Several models in one pass, by the commands: one job, the columns of each, and one account."""

import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.deep_check import deep_check
from producer.verify import verify
from schemas import layout
from schemas.manifest import read_manifest
from schemas.results import read_account
from schemas.storage import Storage
from support.job_bench import JOB, JobBench
from support.models import tiny_model
from support.processes import start_command
from support.stored_jobs import result_bytes
from support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with the tokenizer of the bench's, and one with another tokenizer."""
    folder = tmp_path_factory.mktemp("others")
    return tiny_model(folder / "next", seed=1), tiny_model(folder / "kin", "roberta", seed=2)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score again with one thread and a cache of its own."""
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(0, id="equal tokenizers", marks=pytest.mark.slow),
        pytest.param(1, id="different tokenizers"),
    ],
)
def test_two_models_fill_their_columns_in_one_job_that_verifies_and_goes_on(
    job_bench: JobBench, others: tuple[Path, Path], other: int
) -> None:
    bench, second = job_bench, ("--model", f"new={others[other]}")
    scoring = [f"old={a}" if a == str(bench.model) else a for a in bench.scoring]
    asked = ["submit", *scoring, *second, "--output", str(bench.output), "--job-id", "pair"]

    started = bench.cli(*asked)
    bench.worker.work(2)  # the worker keeps one model in memory: the job has both all the same
    again = bench.cli(*asked)
    bench.worker.work()
    ended = bench.cli("wait", "pair")
    renamed = bench.cli(*[a.replace("new=", "newer=") for a in asked])

    assert [done.exit_code for done in (started, again, ended)] == [0, 0, 0], (started, ended)
    assert again.stdout == "pair\n"
    assert renamed.exit_code == 2, renamed
    assert "differs in model-names" in renamed.stderr, renamed
    storage, output = Storage(), str(bench.output)
    manifest = read_manifest(storage, output)
    deep = deep_check(storage, output, rows=40)
    report = verify(storage, output, deep=deep)
    assert (report.complete, report.rows_scored, report.rows_rescored) == (True, 100, 40), report
    rows = pq.read_table(layout.result(output, 0))
    assert (rows["n_tokens_old"] == rows["n_tokens_new"]) == (other == 0)
    assert rows["score_old"] != rows["score_new"]
    shown = bench.cli("report", output)
    assert manifest.spec.model_names == ("old", "new")
    assert "scored by new" in ended.stdout, ended
    assert "scored by new" in shown.stdout, shown

    path = Path(layout.result(output, 1))
    table = pq.read_table(path)
    field = table.schema.field("score_new")
    turned = table["score_new"].to_pylist()
    turned[0] = 1 - turned[0] / 2
    changed = table.set_column(
        table.column_names.index(field.name), field, pa.array(turned, field.type)
    )
    path.write_bytes(result_bytes(changed, read_account(storage, str(path))))
    (found,) = deep_check(storage, output, rows=1_000).findings
    assert found.message.startswith("result of chunk 1 is not what model new gives in 1 of")


def test_a_collection_is_covered_by_the_same_models_alone(
    job_bench: JobBench, others: tuple[Path, Path]
) -> None:
    bench = job_bench
    one = ["submit", *bench.scoring, "--output", str(bench.output), "--incremental"]
    two = [*one, "--model", str(others[0])]

    def submit(*asked: str) -> dict[str, int]:
        done = bench.cli(*asked, "--json")
        assert done.exit_code == 0, done
        bench.worker.work()
        counts: dict[str, int] = done.json()["increment"]
        return counts

    assert submit(*one)["files"] == 4
    assert submit(*two)["files"] == 4
    assert (submit(*one)["files"], submit(*two)["files"]) == (0, 0)


def test_chunks_of_two_models_that_died_or_were_cancelled_are_scored_by_both_in_the_end(
    job_bench: JobBench, others: tuple[Path, Path]
) -> None:
    bench, output = job_bench, str(job_bench.output)
    aside = bench.folder / "aside.parquet"
    bench.submit("--model", f"new={others[1]}")
    (bench.corpus / "2.parquet").rename(aside)

    outcomes = bench.worker.work(3)
    cancelled = bench.cli("cancel", JOB)
    resumed = bench.cli("resume", output, "--uncancel")
    outcomes += bench.worker.work()
    died = bench.cli("wait", JOB)
    aside.rename(bench.corpus / "2.parquet")
    again = bench.cli("reprocess", JOB)
    outcomes += bench.worker.work()
    ended = bench.cli("wait", JOB, "--json")

    # The message of the cancelled chunk is still there and does no harm.
    assert (outcomes.count("dead"), set(outcomes)) == (1, {"dead", "succeeded"}), outcomes
    assert "1 chunk will not be scored" in cancelled.stdout.replace("chunks", "chunk"), cancelled
    assert resumed.exit_code == 0, resumed
    assert died.exit_code == 3, died
    assert "1 chunk sent again as generation 1" in again.stdout, again
    assert ended.exit_code == 0, ended
    assert [model["rows_scored"] for model in ended.json()["models"]] == [100, 100]
    assert verify(Storage(), output).complete


@pytest.mark.slow
def test_a_job_of_two_models_whose_worker_is_killed_is_completed_by_the_next(
    job_bench: JobBench, others: tuple[Path, Path], tmp_path: Path
) -> None:
    bench, output = job_bench, str(job_bench.output)
    env = {
        **bench.env,
        "BULKSCORE_LEASE_SECONDS": "3",
        "BULKSCORE_MODEL_CACHE_DIR": str(tmp_path / "cache"),
        "BULKSCORE_TORCH_THREADS": "1",
    }
    command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
    bench.submit("--model", f"new={others[0]}", "--chunk-rows", "5")

    with start_command(command, env=env) as first:
        wait_until(lambda: any(bench.output.glob("part-*.parquet")), timeout=120)
        first.signal_group(signal.SIGKILL)
    left = len(list(bench.output.glob("part-*.parquet")))
    with start_command(command, env=env):
        wait_until(lambda: bench.status().ended, timeout=120)

    assert left < bench.status().chunk_count
    report = verify(Storage(), output)
    assert (report.complete, report.rows_scored) == (True, 100), report
