"""`plan --deadline`: the rate is that of a job that really ran."""

import pytest

from support.job_bench import JOB, JobBench

pytestmark = pytest.mark.integration


def test_a_deadline_is_told_in_workers_by_the_rate_of_the_last_job(job_bench: JobBench) -> None:
    plan = ("plan", *job_bench.scoring, "--deadline", "1d")
    unknown = job_bench.cli(*plan)
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("reconcile")

    found = job_bench.cli(*plan, "--cost-per-hour", "2", "--json").json()
    like = job_bench.cli(*plan, "--like", str(job_bench.output), "--json").json()

    assert unknown.exit_code == 2, unknown
    assert "--worker-tokens-per-second" in unknown.stderr, unknown
    status, sizing = job_bench.status(), found["sizing"]
    rate = status.tokens / status.scoring_seconds
    assert sizing["worker_tokens_per_second"] == pytest.approx(rate)
    assert sizing["rate_of_job"] == JOB
    assert sizing["workers"] == 1
    assert sizing["cost"] == pytest.approx(2 * found["tokens"] / rate / 3_600)
    # The summary rounds seconds.
    assert like["sizing"]["worker_tokens_per_second"] == pytest.approx(rate, rel=0.02)
    assert like["sizing"]["cost"] is None


def test_what_a_deadline_takes_is_said_in_words(job_bench: JobBench) -> None:
    done = job_bench.cli(
        *("plan", *job_bench.scoring, "--deadline", "10m"),
        *("--worker-tokens-per-second", "0.5", "--cost-per-hour", "3"),
    )

    assert done.exit_code == 0, done
    assert "to be done in 10 min 00 s" in done.stdout, done
    assert "smaller --chunk-rows" in done.stdout, done
    assert "cost" in done.stdout, done
