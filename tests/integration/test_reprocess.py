"""`dead-letters`, `reprocess`, `resume`, `reconcile`: chunks that died and jobs that were lost."""

import os
from pathlib import Path

import pytest

from schemas.generation import read_generations
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from support.job_bench import JOB, JobBench
from support.servers import ValkeyServer

pytestmark = pytest.mark.integration


def test_a_dead_chunk_is_listed_with_code_file_and_rows(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("dead-letters", JOB)

    assert done.exit_code == 0, done
    assert "input_missing" in done.stdout
    assert str(job_bench.corpus / "2.parquet") in done.stdout
    assert "0 to 24" in done.stdout


def test_one_dead_letter_is_shown_with_its_traceback(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("dead-letters", str(job_bench.output), "--show", "2")

    assert done.exit_code == 0, done
    assert "No such file or directory" in done.stdout
    assert ", line " in done.stdout
    assert "hand@test" in done.stdout


def test_a_chunk_that_is_not_dead_has_no_dead_letter_to_show(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("dead-letters", JOB, "--show", "1")

    assert done.exit_code == 2, done
    assert "chunk 1 is not dead" in done.stderr


def test_a_dead_chunk_is_reprocessed_once_its_cause_is_mended(job_bench: JobBench) -> None:
    aside = _submit_with_a_dead_chunk(job_bench)
    assert job_bench.cli("wait", JOB).exit_code == 3
    aside.rename(job_bench.corpus / "2.parquet")

    done = job_bench.cli("reprocess", JOB, "--token-budget", "512")
    job_bench.worker.work()
    waited = job_bench.cli("wait", JOB, "--json")

    assert "1 chunk sent again as generation 1" in done.stdout
    assert waited.exit_code == 0, waited
    assert waited.json()["rows_scored"] == 100
    (record,) = read_generations(Storage(), str(job_bench.output))
    assert (record.number, record.chunks, record.token_budget) == (1, (2,), 512)
    assert job_bench.status().rows_dead == 0
    assert (job_bench.output / "_SUCCESS").exists()


def test_a_chunk_that_dies_again_is_dead_in_the_new_generation(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)
    job_bench.cli("reprocess", JOB)
    job_bench.worker.work()

    letters = job_bench.cli("dead-letters", JOB, "--json").json()

    assert [(x["chunk"], x["generation"]) for x in letters] == [(2, 1)]
    assert job_bench.status().dead_by_code == {"input_missing": 1}


def test_a_dry_run_says_what_would_be_sent_and_changes_nothing(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("reprocess", JOB, "--dry-run")

    assert done.exit_code == 0, done
    assert "input_missing" in done.stdout
    assert "1 chunk would be sent again" in done.stderr
    assert read_generations(Storage(), str(job_bench.output)) == []
    assert job_bench.status().chunks[ChunkState.DEAD] == 1


def test_only_chunks_of_the_code_asked_for_are_sent(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("reprocess", JOB, "--code", "device_out_of_memory")

    assert done.exit_code == 0, done
    assert "no dead chunk to send again" in done.stderr
    assert job_bench.status().chunks[ChunkState.DEAD] == 1


def test_a_chunk_that_is_not_dead_is_not_sent_again(job_bench: JobBench) -> None:
    _submit_with_a_dead_chunk(job_bench)

    done = job_bench.cli("reprocess", JOB, "--chunk", "1")

    assert done.exit_code == 2, done
    assert "chunk 1" in done.stderr


def test_reprocess_works_for_a_job_that_redis_has_lost(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    aside = _submit_with_a_dead_chunk(job_bench)
    aside.rename(job_bench.corpus / "2.parquet")
    valkey.empty()

    done = job_bench.cli("reprocess", str(job_bench.output))
    outcomes = job_bench.worker.work()

    assert done.exit_code == 0, done
    assert outcomes == ["succeeded"]


def test_resume_enters_a_lost_job_with_what_is_pending(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.worker.work(most=3)
    valkey.empty()

    done = job_bench.cli("resume", str(job_bench.output))

    assert (done.exit_code, done.stdout) == (0, f"{JOB}\n"), done
    assert "3 chunks succeeded, 0 dead, 1 pending" in done.stderr
    assert job_bench.worker.work() == ["succeeded"]


def test_resume_of_a_folder_without_a_job_is_bad_usage(job_bench: JobBench) -> None:
    done = job_bench.cli("resume", str(job_bench.corpus))

    assert done.exit_code == 2, done
    assert "holds no job" in done.stderr


def test_a_cancelled_job_goes_on_when_it_is_uncancelled(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work(most=1)

    cancelled = job_bench.cli("cancel", JOB)
    refused = job_bench.cli("reprocess", JOB)
    resumed = job_bench.cli("resume", str(job_bench.output), "--uncancel")
    job_bench.worker.work()
    waited = job_bench.cli("wait", JOB)

    assert "3 chunks will not be scored" in cancelled.stdout
    assert refused.exit_code == 2, refused
    assert "--uncancel" in refused.stderr
    assert resumed.exit_code == 0, resumed
    assert waited.exit_code == 0, waited


def test_a_cancelled_job_stays_cancelled_when_redis_is_lost(
    job_bench: JobBench, valkey: ValkeyServer
) -> None:
    job_bench.submit()
    job_bench.cli("cancel", JOB)
    valkey.empty()

    job_bench.cli("resume", str(job_bench.output))

    assert job_bench.status().state is JobState.CANCELLED
    assert job_bench.worker.take() is None


def test_a_job_that_has_ended_cannot_be_cancelled(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()
    job_bench.cli("wait", JOB)

    done = job_bench.cli("cancel", JOB)

    assert done.exit_code == 2, done
    assert not (job_bench.output / "_bulkscore" / "cancelled.json").exists()


def test_one_pass_of_the_reconciler_ends_a_job_that_is_done(job_bench: JobBench) -> None:
    job_bench.submit()
    job_bench.worker.work()

    (made,) = job_bench.cli("reconcile", "--json").json()

    assert (made["job_id"], made["ended"]) == (JOB, "succeeded")


def _submit_with_a_dead_chunk(bench: JobBench) -> Path:
    """Submit the job and lose the file of chunk 2; return where it was moved."""
    bench.submit()
    aside = bench.folder / "aside.parquet"
    os.rename(bench.corpus / "2.parquet", aside)
    outcomes = bench.worker.work()
    assert sorted(outcomes) == ["dead", "succeeded", "succeeded", "succeeded"]
    return aside
