"""`doctor`: what answers, what is missing, and no password in what it says."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from support.flaky_s3 import Refusal, flaky_gateway
from support.job_bench import JobBench
from support.processes import run_cli
from support.s3 import S3Bucket
from support.servers import ValkeyServer

pytestmark = pytest.mark.integration


def test_a_sound_deployment_passes(job_bench: JobBench) -> None:
    done = job_bench.cli(
        "doctor",
        *("--input", str(job_bench.corpus), "--output", str(job_bench.output)),
        *("--model", str(job_bench.model), "--json"),
    )

    found = _by_check(done.json())
    assert done.exit_code == 0, done
    assert {found[name]["verdict"] for name in ("redis", "input", "output", "model")} == {"ok"}
    assert not job_bench.output.exists()


def test_no_password_is_printed(job_bench: JobBench, valkey: ValkeyServer) -> None:
    done = job_bench.cli("doctor")

    assert valkey.password is not None
    assert valkey.password not in done.stdout + done.stderr
    assert "***" in done.stdout


def test_missing_workers_are_a_warning(job_bench: JobBench) -> None:
    found = _by_check(job_bench.cli("doctor", "--json").json())

    assert found["workers"]["verdict"] == "warn"
    assert "bulkscore worker" in found["workers"]["detail"]


def test_persistence_is_seen(
    job_bench: JobBench, start_valkey: Callable[..., ValkeyServer]
) -> None:
    server = start_valkey(append_only=True)

    kept = run_cli("doctor", "--json", env={"BULKSCORE_REDIS_URL": server.url}).json()
    lost = job_bench.cli("doctor", "--json").json()

    assert _by_check(kept)["redis persistence"]["verdict"] == "ok"
    assert _by_check(lost)["redis persistence"]["verdict"] == "warn"


@pytest.mark.parametrize(
    ("policy", "prey"),
    [("allkeys-lru", "parts of running jobs"), ("volatile-ttl", "jobs that have ended")],
)
def test_eviction_of_keys_is_a_warning_that_says_what_may_go(
    start_valkey: Callable[..., ValkeyServer], policy: str, prey: str
) -> None:
    server = start_valkey()
    with server.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", policy)

    done = run_cli("doctor", "--json", env={"BULKSCORE_REDIS_URL": server.url})

    found = _by_check(done.json())["redis memory"]
    assert found["verdict"] == "warn"
    assert prey in found["detail"]
    assert "maxmemory-policy noeviction" in found["detail"]


def test_a_broker_that_is_not_there_fails_with_69() -> None:
    done = run_cli("doctor", env={"BULKSCORE_REDIS_URL": "redis://127.0.0.1:1/0"})

    assert done.exit_code == 69, done
    assert "127.0.0.1:1" in done.stdout


def test_an_input_that_is_not_there_fails_with_69(job_bench: JobBench) -> None:
    done = job_bench.cli("doctor", "--input", str(job_bench.folder / "nothing"))

    assert done.exit_code == 69, done


def test_a_store_that_honors_create_once_passes_and_is_left_clean(
    job_bench: JobBench, s3_bucket: S3Bucket
) -> None:
    done = run_cli(
        *("doctor", "--output", s3_bucket.key_uri("scored"), "--json"),
        env={**job_bench.env, **s3_bucket.env},
    )

    assert _by_check(done.json())["output"]["verdict"] == "ok", done
    assert s3_bucket.filesystem().find(s3_bucket.name) == []


@pytest.mark.parametrize("if_none_match", ["ignored", "refused"])
def test_a_store_without_create_once_is_a_warning_that_says_what_it_means(
    job_bench: JobBench,
    s3_bucket: S3Bucket,
    if_none_match: Literal["ignored", "refused"],
) -> None:
    with flaky_gateway(s3_bucket) as gateway:
        gateway.if_none_match = if_none_match
        through = {"BULKSCORE_S3_ENDPOINT_URL": gateway.url}
        env = {**job_bench.env, **s3_bucket.env, **through}

        done = run_cli("doctor", "--output", s3_bucket.key_uri("scored"), "--json", env=env)

    found = _by_check(done.json())["output"]
    assert done.exit_code == 0, done
    assert found["verdict"] == "warn"
    assert "If-None-Match" in found["detail"]
    assert s3_bucket.filesystem().find(s3_bucket.name) == []


def test_a_registry_that_compares_passes_and_is_left_clean(
    job_bench: JobBench, s3_bucket: S3Bucket
) -> None:
    where = {"BULKSCORE_MODELS_URI": s3_bucket.key_uri("models")}

    done = run_cli("doctor", "--json", env={**job_bench.env, **s3_bucket.env, **where})

    assert _by_check(done.json())["model registry"]["verdict"] == "ok", done
    assert s3_bucket.filesystem().find(s3_bucket.name) == []


@pytest.mark.parametrize("if_match", ["ignored", "refused"])
def test_a_registry_without_compare_and_swap_is_a_warning_that_says_what_it_means(
    job_bench: JobBench, s3_bucket: S3Bucket, if_match: Literal["ignored", "refused"]
) -> None:
    with flaky_gateway(s3_bucket) as gateway:
        gateway.if_match = if_match
        through = {
            "BULKSCORE_S3_ENDPOINT_URL": gateway.url,
            "BULKSCORE_MODELS_URI": s3_bucket.key_uri("models"),
        }

        done = run_cli("doctor", "--json", env={**job_bench.env, **s3_bucket.env, **through})

    found = _by_check(done.json())["model registry"]
    assert found["verdict"] == "warn", done
    assert "If-Match" in found["detail"]
    assert "If-None-Match" not in found["detail"]


def test_an_output_that_is_full_fails(job_bench: JobBench, s3_bucket: S3Bucket) -> None:
    with flaky_gateway(s3_bucket) as gateway:
        gateway.fails = lambda method, _path: method == "PUT" and Refusal(403, "QuotaExceeded")
        through = {"BULKSCORE_S3_ENDPOINT_URL": gateway.url}
        env = {**job_bench.env, **s3_bucket.env, **through}

        done = run_cli("doctor", "--output", s3_bucket.key_uri("scored"), "--json", env=env)

    assert done.exit_code == 69, done
    assert "full" in _by_check(done.json())["output"]["detail"]


def test_a_setting_that_makes_no_sense_ends_with_78(job_bench: JobBench) -> None:
    env = {**job_bench.env, "BULKSCORE_MAX_ATTEMPTS": "none"}

    done = run_cli("doctor", env=env)

    assert done.exit_code == 78, done
    assert "BULKSCORE_MAX_ATTEMPTS" in done.stderr


def _by_check(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in answer["findings"]}
