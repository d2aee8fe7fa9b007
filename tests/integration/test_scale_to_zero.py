"""Workers come and go as the ScaledObject says, and no chunk is left behind when none is there.

A loop stands in for KEDA and the autoscaler: it asks a real Redis with KEDA's script, as KEDA's
user, for what the triggers name, and computes the formula; only times are shorter, and there are
two workers at most. Workers and reconciler are those of the manifests.
"""

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from schemas.job import PRIORITIES
from support.corpora import make_table, write_table
from support.manifests import K8S, Object, build, named
from support.pods import Cluster, Container
from support.processes import RunningCli, wait_until
from support.servers import ValkeyServer
from support.texts import ordinary_texts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

MOST_WORKERS = 2
COOLDOWN_SECONDS = 1.0
POLL_SECONDS = 0.3
END_SECONDS = 300.0
QUICK = {
    "BULKSCORE_RECONCILE_SECONDS": "0.3",
    "BULKSCORE_LEASE_SECONDS": "3",
    "BULKSCORE_VISIBILITY_SECONDS": "3",
    "BULKSCORE_ENQUEUE_GRACE_SECONDS": "6",
    "BULKSCORE_RETRY_BASE_SECONDS": "0.2",
    "BULKSCORE_TORCH_THREADS": "1",
}
# What KEDA's scaler for lists runs.
SCRIPT = """
local listType = redis.call('type', KEYS[1]).ok
local cmd = {zset = 'zcard', set = 'scard', list = 'llen', hash = 'hlen', none = 'llen'}
return redis.call(cmd[listType], KEYS[1])
"""


class Autoscaler:
    """KEDA's arithmetic: how many replicas the triggers and the formula ask for now."""

    def __init__(self, scaled: Object, client: redis.Redis) -> None:
        self._triggers = scaled["spec"]["triggers"]
        self._modifiers = scaled["spec"]["advanced"]["scalingModifiers"]
        self._least = scaled["spec"]["minReplicaCount"]
        self._client = client
        self._active = -math.inf

    def metric(self) -> float:
        """Return the value of the formula."""
        lengths = {
            trigger["name"]: self._client.eval(SCRIPT, 1, trigger["metadata"]["listName"])
            for trigger in self._triggers
        }
        value: float = eval(self._modifiers["formula"], {"__builtins__": {}}, lengths)
        return value

    def replicas(self, metric: float) -> int:
        """Return what to scale to: none when nothing has been asked for during the cooldown."""
        now = time.monotonic()
        if metric > float(self._modifiers["activationTarget"]):
            self._active = now
        elif now - self._active > COOLDOWN_SECONDS:
            return int(self._least)
        return min(MOST_WORKERS, max(1, math.ceil(metric / float(self._modifiers["target"]))))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bench_model: Path) -> Iterator[Cluster]:
    with ValkeyServer(tmp_path_factory.mktemp("redis")) as server:
        objects = build(K8S / "overlays/dev")
        cluster = Cluster(objects, server, tmp_path_factory.mktemp("cluster"), QUICK)
        shutil.copytree(bench_model, cluster.data / "model")
        write_table(cluster.data / "corpus/1.parquet", make_table(ordinary_texts(40_000)))
        yield cluster


def test_workers_are_scaled_to_none_and_no_chunk_is_stranded(cluster: Cluster) -> None:
    scaled = named(build(K8S / "overlays/prod"), "ScaledObject", "bulkscore-worker")
    done = cluster.data / "scored/job=nightly-1/_SUCCESS"
    alive: list[tuple[Container, RunningCli]] = []
    seen: list[tuple[float, int]] = []
    killed = 0

    with ExitStack() as pods:
        keda = pods.enter_context(
            redis.Redis(port=cluster.redis.port, username="keda", password="dev")
        )
        scaler = Autoscaler(scaled, keda)
        reconciler = cluster.container("Deployment", "bulkscore-reconciler")
        pods.enter_context(reconciler.start())
        assert scaler.replicas(scaler.metric()) == 0
        labels = {"batch.kubernetes.io/job-name": "nightly-1"}
        nightly = cluster.container("CronJob", "bulkscore-nightly", **labels)
        with nightly.start("--chunk-rows=10000") as submitting:
            assert submitting.wait(120) == 0, submitting

        def scale() -> bool:
            """Do what KEDA does at each poll, and say whether all is at rest without workers."""
            nonlocal killed
            metric = scaler.metric()
            wanted = scaler.replicas(metric)
            seen.append((metric, wanted))
            while len(alive) < wanted:
                pod = cluster.container("Deployment", "bulkscore-worker")
                alive.append((pod, pods.enter_context(pod.start())))
            while len(alive) > wanted:
                pod, process = alive.pop()
                assert process.terminate(pod.grace_seconds) == 0, process
            for pod, process in [
                w for w in alive if not killed and (w[0].run_dir / "busy").exists()
            ]:
                for pid in process.processes():  # a machine that is gone
                    os.kill(pid, signal.SIGKILL)
                process.wait()
                alive.remove((pod, process))
                killed += 1
                assert scaler.metric() >= 4, "the chunk in its hands still counts"
                break
            return not alive and wanted == 0

        wait_until(
            scale, END_SECONDS, interval=POLL_SECONDS, message=lambda: f"no workers; {seen[-20:]}"
        )

    assert killed == 1
    assert max(wanted for _, wanted in seen) == MOST_WORKERS
    assert all(wanted > 0 for metric, wanted in seen if metric > 0)
    assert done.exists()
    with cluster.redis.client() as client:
        assert client.hlen("unacked") == 0
        assert not any(client.llen(f"bulkscore.{name}") for name in PRIORITIES)
