"""What a worker and a reconciler show, and that rules and dashboard speak of nothing else."""

import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from producer.sample import damage_text_page
from support.corpora import make_table, write_table
from support.daemon import free_port
from support.models import tiny_model
from support.monitoring import DASHBOARD, metrics_in, metrics_known, queries
from support.processes import RunningCli, run_cli, start_cli, start_command
from support.servers import MotoServer, ValkeyServer
from support.waiting import wait_until

pytestmark = pytest.mark.integration

SECRET = "xylophonist"
START_SECONDS = 120.0
# What a sound CPU has no occasion to count.
RARE = {
    "bulkscore_chunk_retries_total",
    "bulkscore_s3_retries_total",
    "bulkscore_device_memory_bytes",
}


@dataclass(frozen=True, kw_only=True)
class Scraped:
    """What was shown at a port."""

    port: int

    def text(self) -> str:
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
        return body.decode()

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Return values by name and the values of labels."""
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        }


@dataclass(frozen=True, kw_only=True)
class Operated:
    worker: RunningCli
    of_worker: Scraped
    of_reconciler: Scraped


@pytest.fixture(scope="module")
def operated(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer, moto_s3: MotoServer
) -> Iterator[Operated]:
    """A worker and a reconciler that have seen a job of 2 good chunks and a dead one on S3."""
    valkey.empty()
    folder, bucket = tmp_path_factory.mktemp("metrics"), moto_s3.create_bucket()
    ports = {name: free_port() for name in ("worker", "reconciler")}
    env = {
        **bucket.env,
        "BULKSCORE_REDIS_URL": valkey.url,
        "BULKSCORE_MODEL_CACHE_DIR": str(folder / "cache"),
        "BULKSCORE_TORCH_THREADS": "1",
        "BULKSCORE_RUN_DIR": str(folder / "run"),
    }
    for number in range(3):
        texts = [f"the {SECRET} of row {row} was very good" for row in range(29)]
        write_table(
            folder / "corpus" / f"{number}.parquet",
            make_table([*texts, None], first_id=30 * number),
            use_dictionary=False,
            write_page_checksum=True,
        )
    damage_text_page(folder / "corpus" / "2.parquet")
    with (
        start_command(
            [sys.executable, "-P", "-m", "worker", "--device", "cpu"],
            env={**env, "BULKSCORE_HTTP_PORT": str(ports["worker"])},
        ) as worker,
        start_cli(
            "reconcile", "--forever", env={**env, "BULKSCORE_HTTP_PORT": str(ports["reconciler"])}
        ) as reconciler,
    ):
        done = run_cli(
            *("submit", "--wait", "--input", folder / "corpus", "--chunk-rows", "30"),
            *("--model", tiny_model(folder / "model"), "--text-column", "text"),
            *("--output", bucket.key_uri("scored")),
            env=env,
        )
        assert done.exit_code == 3, done
        made = Operated(
            worker=worker,
            of_worker=Scraped(port=ports["worker"]),
            of_reconciler=Scraped(port=ports["reconciler"]),
        )
        wait_until(
            lambda: made.of_reconciler.samples().get(("bulkscore_jobs", ("failed",))) == 1,
            START_SECONDS,
            message=lambda: f"{reconciler}",
            ignore=(OSError,),
        )
        yield made


def test_rows_outcomes_codes_labels_and_requests_are_counted(operated: Operated) -> None:
    found = operated.of_worker.samples()

    assert found["bulkscore_rows_scored_total", ()] == 58
    assert found["bulkscore_row_errors_total", ("text_null",)] == 2
    assert found["bulkscore_chunk_attempts_total", ("succeeded",)] == 2
    assert found["bulkscore_chunk_attempts_total", ("dead",)] == 1
    assert sum(v for (name, _), v in found.items() if name == "bulkscore_dead_letters_total") == 1
    assert found["bulkscore_chunk_seconds_count", ()] == 2
    assert found["bulkscore_model_loads_total", ("unregistered",)] == 1
    assert found["bulkscore_model_info", ("cpu", "fp32", "unregistered")] == 1
    tokens, padded = found["bulkscore_tokens_total", ()], found["bulkscore_batch_tokens_total", ()]
    assert 0 < tokens <= padded <= found["bulkscore_batch_budget_tokens_total", ()]
    labels = [v for (name, _), v in found.items() if name == "bulkscore_labels_total"]
    assert sum(labels) == 58
    assert found["bulkscore_s3_requests_total", ("PutObject", "2xx")] >= 2


def test_the_reconciler_tells_states_of_jobs_chunks_and_redis(operated: Operated) -> None:
    found = operated.of_reconciler.samples()

    assert found["bulkscore_jobs", ("running",)] == found["bulkscore_chunks_pending", ()] == 0
    assert found["bulkscore_chunks", ("dead",)] == 1
    assert found["bulkscore_chunks", ("succeeded",)] == 2
    assert found["bulkscore_queue_depth", ("bulkscore.normal",)] == 0
    assert found["bulkscore_redis_memory_bytes", ()] > 100_000


def test_no_metric_holds_a_text_a_job_or_a_file(operated: Operated) -> None:
    for scraped in (operated.of_worker, operated.of_reconciler):
        text = scraped.text()
        assert not re.search(rf"{SECRET}|parquet|/tmp/|s3://", text), text


def test_what_is_shown_is_what_is_known_and_rules_and_dashboard_use_no_other(
    operated: Operated,
) -> None:
    shown = {
        name
        for scraped in (operated.of_worker, operated.of_reconciler)
        for name, _ in scraped.samples()
        if name.startswith("bulkscore_") and not name.endswith("_created")
    }
    known = metrics_known()

    assert shown <= known
    assert known - shown <= RARE, "neither shown nor said to be rare"
    for query in queries():
        assert metrics_in(query) <= known, query
    assert len(queries()) > 40
    assert DASHBOARD.exists()


def test_a_new_child_goes_on_with_the_counters_of_the_dead_one(operated: Operated) -> None:
    before = operated.of_worker.samples()
    (child,) = [
        c
        for c in psutil.Process(operated.worker.pid).children()
        if "spawn_main" in " ".join(c.cmdline())
    ]

    child.kill()

    wait_until(
        lambda: operated.of_worker.samples()["bulkscore_child_starts_total", ()] == 2,
        START_SECONDS,
    )
    after = operated.of_worker.samples()
    assert after["bulkscore_rows_scored_total", ()] == before["bulkscore_rows_scored_total", ()]
    gauge = ("bulkscore_model_info", ("cpu", "fp32", "unregistered"))
    assert gauge in before
    assert gauge not in after
