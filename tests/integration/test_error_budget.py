"""Error budgets: a hopeless job stops early, says why, and goes on when it is told to."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.states import JobState
from support.job_bench import JOB, JobBench
from support.servers import ValkeyServer

pytestmark = pytest.mark.integration

CHUNKS = 4


def blank(path: Path, rows: int) -> None:
    """Leave the first rows of a file without text."""
    table = pq.read_table(path)
    texts = [*["  "] * rows, *table["text"].to_pylist()[rows:]]
    pq.write_table(table.set_column(1, "text", pa.array(texts)), path)


@pytest.fixture
def bad_rows(job_bench: JobBench) -> JobBench:
    """Three blank rows in each chunk."""
    for chunk in range(CHUNKS):
        blank(job_bench.corpus / f"{chunk}.parquet", 3)
    return job_bench


def lose_files(bench: JobBench, *chunks: int) -> None:
    """Take files of the corpus away."""
    for chunk in chunks:
        (bench.corpus / f"{chunk}.parquet").rename(bench.folder / f"{chunk}.parquet")


def bring_back(bench: JobBench, *chunks: int) -> None:
    """Put files back as they were."""
    for chunk in chunks:
        (bench.folder / f"{chunk}.parquet").rename(bench.corpus / f"{chunk}.parquet")


def test_rows_over_the_budget_stop_the_job_and_the_rest_is_not_begun(bad_rows: JobBench) -> None:
    bad_rows.submit("--max-row-errors", "5%")

    assert bad_rows.worker.work() == ["succeeded", "succeeded", "halted", "halted"]
    done = bad_rows.cli("wait", JOB)

    assert done.exit_code == 4, done
    assert "failed, stopped: 6 rows with an error, --max-row-errors allows 5" in done.stdout
    assert f"bulkscore resume {bad_rows.output} --max-row-errors N|P%" in done.stderr
    assert "2 succeeded, 0 dead, 2 not scored" in done.stdout


def test_a_stopped_job_says_so_to_whoever_asks(bad_rows: JobBench) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()
    wants = {"state": "failed", "stopped_by": "rows_error", "max_row_errors": 5}

    shown = bad_rows.cli("show", JOB, "--json").json()["job"]
    (listed,) = bad_rows.cli("jobs", "--json").json()
    summary = bad_rows.cli("wait", JOB, "--json").json()

    for record in (shown, listed, summary):
        assert {name: record[name] for name in wants} == wants
        assert (record["rows_error"], record["max_dead_chunks"]) == (6, None)
    text = bad_rows.cli("show", JOB)
    assert "failed, stopped: 6 rows with an error, --max-row-errors allows 5" in text.stdout


def test_dead_chunks_over_the_budget_stop_the_job(job_bench: JobBench) -> None:
    job_bench.submit("--max-dead-chunks", "1")
    lose_files(job_bench, 0, 1)

    assert job_bench.worker.work() == ["dead", "dead", "halted", "halted"]
    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 3, done
    assert "failed, stopped: 2 dead chunks, --max-dead-chunks allows 1" in done.stdout
    assert f"bulkscore dead-letters {job_bench.output}" in done.stderr


def test_dead_chunks_within_the_budget_let_the_job_come_to_its_end(job_bench: JobBench) -> None:
    job_bench.submit("--max-dead-chunks", "25%")
    lose_files(job_bench, 1)

    assert job_bench.worker.work() == ["succeeded", "dead", "succeeded", "succeeded"]
    done = job_bench.cli("wait", JOB)

    assert done.exit_code == 3, done
    assert "stopped" not in done.stdout


@pytest.mark.parametrize("lost", [False, True], ids=["known", "lost"])
def test_a_stopped_job_goes_on_with_another_budget(
    bad_rows: JobBench, valkey: ValkeyServer, lost: bool
) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()
    bad_rows.cli("wait", JOB)
    if lost:
        valkey.empty()

    resumed = bad_rows.cli("resume", str(bad_rows.output), "--max-row-errors", "12%", "--json")

    assert resumed.json()["stopped_by"] is None
    assert resumed.json()["resumed"]["pending"] == 2
    assert bad_rows.worker.work() == ["succeeded", "succeeded"]
    assert bad_rows.cli("wait", JOB).exit_code == 0


def test_the_budget_that_was_given_last_outlives_the_loss_of_redis(
    bad_rows: JobBench, valkey: ValkeyServer
) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()
    bad_rows.cli("resume", str(bad_rows.output), "--max-row-errors", "8")
    valkey.empty()

    bad_rows.cli("resume", str(bad_rows.output))

    assert bad_rows.status().limits.rows_error == 8
    assert bad_rows.worker.work() == ["succeeded", "halted"]
    assert bad_rows.cli("wait", JOB, "--json").json()["max_row_errors"] == 8


def test_without_another_budget_a_stopped_job_stays_stopped(bad_rows: JobBench) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()
    bad_rows.cli("wait", JOB)

    resumed = bad_rows.cli("resume", str(bad_rows.output))

    assert "stopped: 6 rows with an error, --max-row-errors allows 5" in resumed.stderr
    assert bad_rows.worker.work() == []
    assert bad_rows.cli("wait", JOB).exit_code == 4


def test_a_complete_job_over_its_budget_succeeds_by_another_without_scoring(
    bad_rows: JobBench,
) -> None:
    bad_rows.submit("--max-row-errors", "11")
    bad_rows.worker.work()
    assert bad_rows.cli("wait", JOB).exit_code == 4
    assert not (bad_rows.output / "_SUCCESS").exists()

    bad_rows.cli("resume", str(bad_rows.output), "--max-row-errors", "100%")

    assert (bad_rows.status().state, bad_rows.worker.take()) == (JobState.SUCCEEDED, None)
    assert (bad_rows.output / "_SUCCESS").exists()
    assert bad_rows.cli("wait", JOB).exit_code == 0


def test_chunks_sent_again_bring_a_stopped_job_back(job_bench: JobBench) -> None:
    job_bench.submit("--max-dead-chunks", "1")
    lose_files(job_bench, 0, 1)
    job_bench.worker.work()
    job_bench.cli("wait", JOB)
    bring_back(job_bench, 0, 1)

    job_bench.cli("reprocess", JOB)

    assert job_bench.worker.work() == ["succeeded"] * 4
    assert job_bench.cli("wait", JOB).exit_code == 0


def test_submitting_again_with_another_budget_gives_it_to_the_job(bad_rows: JobBench) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()

    again = bad_rows.submit("--max-row-errors", "20")

    assert (again.exit_code, again.stdout) == (0, f"{JOB}\n"), again
    assert bad_rows.worker.work() == ["succeeded", "succeeded"]


def test_the_same_command_again_does_not_undo_what_an_operator_has_allowed(
    bad_rows: JobBench,
) -> None:
    bad_rows.submit("--max-row-errors", "5")
    bad_rows.worker.work()
    bad_rows.cli("resume", str(bad_rows.output), "--max-row-errors", "100%")

    bad_rows.submit("--max-row-errors", "5")

    assert bad_rows.status().limits.rows_error == 100


def test_a_cancelled_job_is_cancelled_whatever_its_budget(bad_rows: JobBench) -> None:
    bad_rows.submit("--max-row-errors", "2")
    bad_rows.worker.work(most=1)
    bad_rows.cli("cancel", JOB)

    summary = bad_rows.cli("wait", JOB, "--json")

    assert summary.exit_code == 3, summary
    assert (summary.json()["state"], summary.json()["stopped_by"]) == ("cancelled", None)
