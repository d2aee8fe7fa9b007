"""`jobs`, `show` and `report`: the same answers from the ledger and from the object store."""

import pytest

from support.job_bench import JOB, JobBench
from support.servers import ValkeyServer

pytestmark = pytest.mark.integration


def test_jobs_lists_what_the_ledger_knows(job_bench: JobBench) -> None:
    job_bench.submit()

    table = job_bench.cli("jobs")
    (job,) = job_bench.cli("jobs", "--json").json()

    assert JOB in table.stdout
    assert (job["job_id"], job["state"], job["rows"]) == (JOB, "running", 100)


def test_show_counts_files_and_chunks_and_names_the_model(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work(most=1)

    done = job_bench.cli("show", JOB)

    assert done.exit_code == 0, done
    assert "4: 3 queued, 1 succeeded" in done.stdout
    assert "4, 0 skipped" in done.stdout
    assert str(job_bench.model) in done.stdout


def test_a_job_that_redis_has_lost_is_shown_from_its_output(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.worker.work(most=3)
    valkey.empty()

    done = job_bench.cli("show", str(job_bench.output), "--json")

    job = done.json()["job"]
    assert (job["source"], job["rows_scored"]) == ("storage", 75)
    assert "not known to the ledger" in done.stderr


def test_one_chunk_is_shown_with_its_place_and_result(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    chunk = job_bench.cli("show", JOB, "--chunk", "3", "--json").json()

    assert chunk["state"] == "succeeded"
    assert chunk["file"] == str(job_bench.corpus / "3.parquet")
    assert (chunk["row_start"], chunk["rows"]) == (0, 25)
    assert chunk["result"]["worker"] == "hand@test"


def test_a_chunk_that_the_job_has_not_is_bad_usage(job_bench: JobBench) -> None:
    job_bench.submit()

    done = job_bench.cli("show", JOB, "--chunk", "4")

    assert done.exit_code == 2, done
    assert "0 to 3" in done.stderr


def test_a_report_counts_every_row_once(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)

    report = job_bench.cli("report", str(job_bench.output), "--json").json()

    assert sum(label["rows"] for label in report["labels"]) == 100
    assert report["summary"]["rows_scored"] == 100


def test_a_report_of_a_job_that_runs_says_so(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work(most=1)

    done = job_bench.cli("report", str(job_bench.output))

    assert done.exit_code == 0, done
    assert "has not ended" in done.stderr
