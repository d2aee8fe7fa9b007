"""What the manifests run, run: containers of the development overlay as processes."""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import ExitCode
from support.corpora import make_table, write_table
from support.manifests import K8S, build, named
from support.models import LABELS
from support.pods import Cluster, Container
from support.processes import CompletedCli, RunningCli, wait_until
from support.sentences import sentences
from support.servers import MotoServer, ValkeyServer
from support.texts import ordinary_texts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STOP_SECONDS = 10.0  # for what the kernel has yet to take away
START_SECONDS = 120.0
JOB_LABEL = "batch.kubernetes.io/job-name"
TONIGHT = "bulkscore-nightly-29661210"
# Short, so that a test need not wait for a lease; all else is as in the manifests.
SETTINGS = {"BULKSCORE_RECONCILE_SECONDS": "0.3", "BULKSCORE_TORCH_THREADS": "1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bench_model: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with ValkeyServer(tmp_path_factory.mktemp("redis")) as redis:
        cluster = Cluster(build(K8S / "overlays/dev"), redis, folder, SETTINGS)
        shutil.copytree(bench_model, cluster.data / "model")
        write_table(cluster.data / "corpus/1.parquet", make_table(ordinary_texts(50)))
        yield cluster


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[dict[str, tuple[Container, RunningCli]]]:
    """Worker and reconciler, once their startup probes have passed."""
    with ExitStack() as pods:
        found = {}
        for name in ("worker", "reconciler"):
            container = cluster.container("Deployment", f"bulkscore-{name}")
            found[name] = (container, pods.enter_context(container.start()))
        for container, process in found.values():
            wait_until(
                partial(container.probe, "startupProbe"), START_SECONDS, message=str(process)
            )
        yield found


def run(cluster: Cluster, name: str, *more: str, job: str = TONIGHT) -> CompletedCli:
    """Run a pod of a CronJob to its end."""
    container = cluster.container("CronJob", name, **{JOB_LABEL: job})
    began = time.monotonic()
    with container.start(*more) as process:
        code = process.wait(START_SECONDS)
        seconds = time.monotonic() - began
        return CompletedCli(
            args=(*container.args, *more),
            exit_code=code,
            stdout=process.stdout,
            stderr=process.stderr,
            seconds=seconds,
        )


def test_the_probes_of_long_running_pods_pass(
    running: dict[str, tuple[Container, RunningCli]],
) -> None:
    for container, process in running.values():
        wait_until(partial(container.probe, "readinessProbe"), START_SECONDS, message=str(process))
        assert container.probe("livenessProbe"), process


def test_the_nightly_job_is_one_however_often_it_is_started(
    cluster: Cluster, running: dict[str, tuple[Container, RunningCli]]
) -> None:
    first, again = (run(cluster, "bulkscore-nightly") for _ in range(2))

    assert (first.exit_code, again.exit_code) == (0, 0), f"{first}\n{again}"
    assert first.stdout.strip() == again.stdout.strip() == TONIGHT
    folders = list((cluster.data / "scored").glob("job=*"))
    assert [folder.name for folder in folders] == [f"job={TONIGHT}"]
    wait_until((folders[0] / "_SUCCESS").exists, START_SECONDS, message=str(running["worker"][1]))


def test_the_dashboard_is_behind_its_login_and_is_the_user_of_redis_that_it_should_be(
    cluster: Cluster,
) -> None:
    container = cluster.container("Deployment", "bulkscore-flower")
    with container.start() as process:
        for name in ("readinessProbe", "livenessProbe"):
            wait_until(partial(container.probe, name), START_SECONDS, message=lambda: str(process))
        without = {path: container.status(path) for path in ("/", "/api/workers", "/metrics")}
        with cluster.redis.client() as client:
            users = {c["user"] for c in client.client_list()} - {"default"}
            logged = client.acl_log()
        code = process.terminate(container.grace_seconds)

    assert without == {"/": 401, "/api/workers": 401, "/metrics": 401}, process
    assert "flower" in users
    assert [entry for entry in logged if entry["username"] == "flower"] == []
    assert code == 0, process


def test_the_janitor_comes_to_an_end(cluster: Cluster) -> None:
    done = run(cluster, "bulkscore-janitor")

    assert done.exit_code == 0, done
    assert done.json() == []


def test_a_nightly_job_without_input_fails_for_good(cluster: Cluster) -> None:
    job = named(cluster.objects, "CronJob", "bulkscore-nightly")["spec"]["jobTemplate"]["spec"]
    final = job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]

    done = run(cluster, "bulkscore-nightly", "--input=/nowhere", job="bulkscore-nightly-2")

    assert done.exit_code in final, done


def test_a_worker_hands_its_chunk_back_within_the_grace_of_its_pod(
    cluster: Cluster, running: dict[str, tuple[Container, RunningCli]]
) -> None:
    container, process = running["worker"]
    texts = ordinary_texts(40_000)
    write_table(cluster.data / "corpus/2.parquet", make_table(texts, first_id=50))
    done = run(cluster, "bulkscore-nightly", "--chunk-rows=20000", job="bulkscore-nightly-3")
    assert done.exit_code == 0, done
    wait_until((container.run_dir / "busy").exists, START_SECONDS, message=str(process))

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(container.grace_seconds)

    assert code == 0, process
    assert time.monotonic() - began < container.grace_seconds / 2
    wait_until(lambda: process.processes() == [], STOP_SECONDS, message=str(process))
    with cluster.redis.client() as client:
        assert client.hlen("unacked") == 0
    assert not (cluster.data / "scored/job=bulkscore-nightly-3/_SUCCESS").exists()


def test_the_training_job_registers_the_model_that_its_settings_name(
    tmp_path: Path, moto_s3: MotoServer, valkey: ValkeyServer, bench_model: Path
) -> None:
    lake, models = (moto_s3.create_bucket(f"example-{name}") for name in ("lake", "models"))
    files = models.filesystem()
    files.put(f"{bench_model}/", "example-models/bases/minilm/", recursive=True)
    for name, rows in (("train", 64), ("test", 32)):
        texts = sentences(rows, seed=rows).with_columns(
            pl.col("label").replace_strict([0, 1], LABELS, return_dtype=pl.String)
        )
        texts.write_parquet(tmp_path / f"{name}.parquet")
        files.put(str(tmp_path / f"{name}.parquet"), f"example-lake/labelled/{name}.parquet")
    settings = {**lake.env, "OMP_NUM_THREADS": "1"}
    cluster = Cluster(build(K8S / "overlays/prod"), valkey, tmp_path, settings)
    container = cluster.container("CronJob", "bulkscore-train")

    with container.start() as process:
        code = process.wait(START_SECONDS)

    assert code == 0, str(process)
    registered = process.stderr.strip().rpartition("registered sentiment@")[2]
    assert files.exists(f"example-models/registry/sentiment/versions/{registered}/manifest.json")


def test_the_reconciler_ends_in_order(
    running: dict[str, tuple[Container, RunningCli]],
) -> None:
    container, process = running["reconciler"]

    assert process.terminate(container.grace_seconds) == ExitCode.OK, process
