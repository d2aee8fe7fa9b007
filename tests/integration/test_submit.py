"""`plan` and `submit` against a real broker, from the user's side."""

import json
import socket
import time
from pathlib import Path

import pytest

from support.corpora import write_corpus
from support.job_bench import JOB, JobBench
from support.processes import run_cli
from support.s3 import S3Bucket
from support.servers import ValkeyServer

pytestmark = pytest.mark.integration


def test_a_submit_prints_the_job_id_and_leaves_messages_on_the_queue(job_bench: JobBench) -> None:
    done = job_bench.submit()

    assert done.exit_code == 0, done
    assert done.stdout == f"{JOB}\n"
    assert "100 rows in 4 chunks, 4 to score" in done.stderr
    assert job_bench.ledger.queue_length("normal") == 4


def test_the_same_submit_again_is_a_no_op_that_prints_the_same_id(job_bench: JobBench) -> None:
    first = job_bench.submit()
    job_bench.worker.work(most=1)

    second = job_bench.cli("submit", *job_bench.scoring, "--output", str(job_bench.output))

    assert (second.exit_code, second.stdout) == (0, first.stdout), second
    assert "3 to score" in second.stderr
    assert job_bench.ledger.queue_length("normal") == 3


def test_another_job_for_the_same_output_is_refused(job_bench: JobBench) -> None:
    job_bench.submit()

    other = job_bench.submit("--max-length", "16")

    assert other.exit_code == 2, other
    assert "error [output_taken]" in other.stderr
    assert JOB in other.stderr


def test_a_job_id_that_is_taken_is_refused_before_anything_is_created(job_bench: JobBench) -> None:
    job_bench.submit()
    elsewhere = job_bench.folder / "elsewhere"

    other = job_bench.cli("submit", *job_bench.scoring, "--output", str(elsewhere), "--job-id", JOB)

    assert other.exit_code == 2, other
    assert "error [output_taken]" in other.stderr
    assert not elsewhere.exists()


def test_a_malformed_job_id_is_refused_before_anything_is_created(job_bench: JobBench) -> None:
    done = job_bench.cli(
        "submit", *job_bench.scoring, "--output", str(job_bench.output), "--job-id", "Not OK"
    )

    assert done.exit_code == 2, done
    assert "job id" in done.stderr
    assert not job_bench.output.exists()


def test_the_priority_chooses_the_queue(job_bench: JobBench) -> None:
    done = job_bench.submit("--priority", "high", "--json")

    assert done.json()["chunks_pending"] == 4
    assert job_bench.ledger.queue_length("high") == 4
    assert job_bench.ledger.queue_length("normal") == 0


def test_a_missing_column_is_named_with_the_columns_there_are(job_bench: JobBench) -> None:
    scoring = [*job_bench.scoring, "--id-column", "nowhere"]

    done = job_bench.cli("submit", *scoring, "--output", str(job_bench.output))

    assert done.exit_code == 2, done
    assert "'nowhere'" in done.stderr
    assert "id (string), text (string)" in done.stderr
    assert not job_bench.output.exists()


def test_an_unknown_model_is_refused_at_submit(job_bench: JobBench) -> None:
    done = job_bench.submit("--model", str(job_bench.folder / "no-model"))

    assert done.exit_code == 2, done
    assert "error [input_missing]" in done.stderr
    assert not job_bench.output.exists()


def test_an_error_is_one_json_object_where_json_is_asked_for(job_bench: JobBench) -> None:
    done = job_bench.submit("--input", str(job_bench.folder / "no-such-file"), "--json")

    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert done.exit_code == 2, done
    assert error["code"] == "input_missing"
    assert "no-such-file" in error["message"]


def test_a_plan_counts_and_creates_nothing(job_bench: JobBench) -> None:
    done = job_bench.cli("plan", *job_bench.scoring, "--json")

    plan = done.json()
    assert (plan["files"], plan["rows"], plan["chunks"]) == (4, 100, 4)
    assert 0 < plan["tokens"] < plan["text_bytes"]
    assert not job_bench.output.exists()


def test_a_plan_tells_the_time_at_a_rate(job_bench: JobBench) -> None:
    done = job_bench.cli("plan", *job_bench.scoring, "--tokens-per-second", "10")

    assert done.exit_code == 0, done
    assert "at 10 tokens/s" in done.stdout


def test_a_broker_that_is_not_there_is_named_within_15_seconds(job_bench: JobBench) -> None:
    env = {**job_bench.env, "BULKSCORE_REDIS_URL": "redis://:secret@127.0.0.1:1/0"}

    done = run_cli("submit", *job_bench.scoring, "-o", str(job_bench.output), env=env)

    assert done.exit_code == 69, done
    assert "127.0.0.1:1" in done.stderr
    assert "secret" not in done.stderr
    assert done.seconds < 15
    assert not job_bench.output.exists()


def test_a_broker_that_takes_connections_and_never_answers_is_named_within_15_seconds(
    job_bench: JobBench,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        done = run_cli(
            "submit",
            *job_bench.scoring,
            "-o",
            str(job_bench.output),
            env={**job_bench.env, "BULKSCORE_REDIS_URL": url},
        )

    assert done.exit_code == 69, done
    assert url.removesuffix("/0") in done.stderr
    assert done.seconds < 15


def test_a_wrong_password_is_told_apart(job_bench: JobBench, valkey: ValkeyServer) -> None:
    env = {"BULKSCORE_REDIS_URL": f"redis://:wrong@127.0.0.1:{valkey.port}/0"}

    done = run_cli("submit", *job_bench.scoring, "-o", str(job_bench.output), env=env)

    assert done.exit_code == 69, done
    assert "refuses the login" in done.stderr
    assert "wrong@" not in done.stderr


def test_storage_that_is_not_there_is_named_within_15_seconds(job_bench: JobBench) -> None:
    env = {
        **job_bench.env,
        "BULKSCORE_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }

    done = run_cli("submit", *job_bench.scoring, "-o", "s3://bucket/scored", env=env)

    assert done.exit_code == 69, done
    assert "http://127.0.0.1:1" in done.stderr
    assert done.seconds < 15


def test_a_corpus_and_a_result_on_s3_are_submitted_the_same_way(
    job_bench: JobBench, s3_bucket: S3Bucket, tmp_path: Path
) -> None:
    path = write_corpus(tmp_path / "corpus.parquet", rows=50)
    s3_bucket.filesystem().put(str(path), s3_bucket.key_uri("corpus/0.parquet"))

    done = run_cli(
        "submit",
        *("--input", s3_bucket.key_uri("corpus"), "--output", s3_bucket.key_uri("scored")),
        *("--model", str(job_bench.model), "--text-column", "text", "--job-id", "on-s3"),
        env={**job_bench.env, **s3_bucket.env},
    )

    assert (done.exit_code, done.stdout) == (0, "on-s3\n"), done
    assert s3_bucket.filesystem().exists(s3_bucket.key_uri("scored/_bulkscore/manifest.json"))


def test_many_chunks_cost_the_queue_one_window(job_bench: JobBench) -> None:
    env = {**job_bench.env, "BULKSCORE_WINDOW_CHUNKS": "3"}

    began = time.monotonic()
    done = run_cli(
        "submit", *job_bench.scoring, "--chunk-rows", "1", "-o", str(job_bench.output), env=env
    )

    assert done.exit_code == 0, done
    assert job_bench.ledger.queue_length("normal") == 3
    assert time.monotonic() - began < 15
