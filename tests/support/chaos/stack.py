"""What runs: Redis with its file, an S3 server behind a gateway, two workers on links of their own.

Everything is started, looked after and stopped by the thread that calls; `pause` is how a fault
lets time pass, for meanwhile the workers that have ended must be started again.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from tokenizers import Tokenizer

from schemas.ledger import Ledger
from schemas.settings import BrokerSettings, ScheduleSettings, StorageSettings, load
from schemas.states import ChunkState
from schemas.storage import Storage
from support.chaos.job import FILES, Job, Row, corpus_file, rows_of
from support.chaos.mounts import small_disk
from support.chaos.servers import Redis, S3Front
from support.chaos.workers import Worker
from support.models import tiny_model
from support.servers import CephServer, MotoServer
from support.tcp_proxy import Links, network
from support.waiting import wait_until

# Holds `sitecustomize.py`.
PLUG = Path(__file__).with_name("plug")
WORKERS = 2
TICK_SECONDS = 0.2
START_SECONDS = 120.0

# Short times, so that a run meets in seconds what production meets in minutes.
QUICK = {
    "BULKSCORE_RECONCILE_SECONDS": "0.5",
    "BULKSCORE_LEASE_SECONDS": "6",
    "BULKSCORE_VISIBILITY_SECONDS": "6",
    "BULKSCORE_ENQUEUE_GRACE_SECONDS": "10",
    "BULKSCORE_RETRY_BASE_SECONDS": "0.5",
    "BULKSCORE_RETRY_CAP_SECONDS": "5",
}
# A small window, so that most of a job waits for the reconciler.
COMMON = {"BULKSCORE_WINDOW_CHUNKS": "16", "BULKSCORE_TORCH_THREADS": "1"}


@dataclass(kw_only=True)
class Stack:
    """Everything that runs, for the faults to break and the checks to look at."""

    folder: Path
    redis: Redis
    store: MotoServer | CephServer
    front: S3Front
    root: str
    storage: Storage
    workers: list[Worker]
    env: dict[str, str]
    schedule: ScheduleSettings
    tokenizer: Tokenizer
    disks_are_small: bool = True
    orders: dict[str, Any] = field(default_factory=dict)
    job: Job | None = None
    findings: list[str] = field(default_factory=list)

    def note(self, finding: str) -> None:
        """Write down what should not have happened."""
        self.findings.append(finding)

    @property
    def ledger(self) -> Ledger:
        """The ledger, looked at from outside."""
        return Ledger(BrokerSettings(redis_url=self.redis.url))

    def client(self) -> redis_py.Redis:
        """Return a client of Redis that waits for nothing long."""
        return self.redis.client(decode_responses=True, socket_timeout=5)

    def new_job(self, job_id: str) -> Job:
        """Make the next job, not submitted yet."""
        self.job = Job(job_id, self.root, self.storage, self.env)
        return self.job

    def pause(self, seconds: float) -> None:
        """Let time pass, looking after the workers and at the results."""
        self.wait_for(lambda: False, seconds)

    def wait_for(self, condition: Callable[[], object], seconds: float) -> bool:
        """Let time pass until a condition holds; False when it did not within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            self.tick()
            if condition():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Start workers that ended, and note new results."""
        for worker in self.workers:
            worker.tick()
        if self.job is not None:
            for finding in self.job.look():
                if finding not in self.findings:
                    self.note(finding)

    def running_chunks(self) -> set[int]:
        """Return the chunks that are being scored now by the ledger, none if it cannot say."""
        with suppress(Exception):
            assert self.job is not None
            states = self.ledger.states(self.job.job_id)
            return {c for c, state in enumerate(states) if state is ChunkState.RUNNING}
        return set()

    def rows_of_waiting_chunks(self, *, min_words: int) -> list[Row]:
        """Return rows that have no result yet and whose texts are there once."""
        assert self.job is not None
        job = self.job
        self.wait_for(lambda: job.chunks, START_SECONDS)
        found = [rows_of(chunk, self.tokenizer, min_words=min_words) for chunk in job.waiting]
        return [row for rows in found for row in rows]

    def stop_workers(self) -> list[str]:
        """End the workers for good; return what was wrong with their end."""
        before = len(self.findings)
        for worker in self.workers:
            worker.stop()
            if left := worker.leftovers():
                self.note(f"{worker.name} left {len(left)} temporary files: {left[:5]}")
        return self.findings[before:]

    def order(self, **orders: Any) -> None:
        """Give the plugs of all workers these orders, and no others."""
        self.orders = orders
        for worker in self.workers:
            worker.order(**orders)


@contextmanager
def running_stack(folder: Path, *, ceph: bool = False, defaults: bool = False) -> Iterator[Stack]:
    """Run everything below `folder`, and stop it at the end.

    Args:
        folder: An empty folder; files of the run are left there.
        ceph: Ceph as the S3 server, instead of moto.
        defaults: The product's own times instead of short ones.
    """
    with ExitStack() as block:
        server = block.enter_context(Redis(_made(folder / "redis")))
        store: MotoServer | CephServer = CephServer() if ceph else MotoServer(_made(folder / "s3"))
        block.enter_context(store)
        front = block.enter_context(S3Front(_made(folder / "front"), store.port))
        links = block.enter_context(network())
        bucket = store.create_bucket()
        settings = {**bucket.env, **COMMON, **({} if defaults else QUICK)}
        patch = block.enter_context(pytest.MonkeyPatch.context())
        for name, value in settings.items():
            patch.setenv(name, value)
        root, storage = bucket.uri, Storage(StorageSettings(s3_endpoint_url=store.endpoint_url))
        model = _fill(root, storage, folder)
        stack = Stack(
            folder=folder,
            redis=server,
            store=store,
            front=front,
            root=root,
            storage=storage,
            workers=[],
            env={**settings, **_endpoint(front.port), "BULKSCORE_REDIS_URL": server.url},
            schedule=load(ScheduleSettings),
            tokenizer=Tokenizer.from_file(str(model / "tokenizer.json")),
        )
        for number in range(1, WORKERS + 1):
            worker = _worker(stack, f"worker-{number}", links)
            stack.disks_are_small &= block.enter_context(small_disk(worker.temporary))
            stack.workers.append(worker)
        stack.order()
        try:
            for worker in stack.workers:
                worker.start()
            wait_until(lambda: all(w.ready for w in stack.workers), START_SECONDS)
            yield stack
        finally:
            stack.stop_workers()
            if stack.job is not None:
                stack.job.close()


def _worker(stack: Stack, name: str, links: Links) -> Worker:
    to_redis, to_s3 = links.add(stack.redis.port), links.add(stack.front.port)
    env = {
        **stack.env,
        **_endpoint(to_s3.port),
        "BULKSCORE_REDIS_URL": stack.redis.url_through(to_redis.port),
        "BULKSCORE_MODEL_CACHE_DIR": str(stack.folder / "models"),
        "PYTHONPATH": os.pathsep.join([str(PLUG), os.environ.get("PYTHONPATH", "")]),
    }
    return Worker(name, stack.folder / name, env, redis=to_redis, s3=to_s3, note=stack.note)


def _endpoint(port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    return {"BULKSCORE_S3_ENDPOINT_URL": url, "AWS_ENDPOINT_URL": url}


def _fill(root: str, storage: Storage, folder: Path) -> Path:
    """Put corpus and model on the store; return the model's folder."""
    for file in range(FILES):
        storage.create(f"{root}/corpus/{file}.parquet", corpus_file(file))
    model = tiny_model(folder / "model")
    for path in model.iterdir():
        storage.create(f"{root}/model/{path.name}", path.read_bytes())
    return model


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
