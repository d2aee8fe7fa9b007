"""Workers as in production: Redis with TLS and a user for each role, and an S3 gateway of Ceph."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.support.jobs import score_job
from producer.deployment import Deployment
from producer.manifest import create_job
from schemas import layout
from schemas.job import JobSpec
from schemas.model_files import pin_model
from schemas.results import read_account
from support.models import tiny_model
from support.processes import RunningCli, start_cli
from support.s3 import S3Bucket
from support.secured_redis import SecuredRedis
from support.servers import CephServer
from support.texts import ordinary_texts

ROWS_A_CHUNK = 4
CHUNKS_A_FILE = 100
WARM_UP_JOBS = 50


@dataclass(frozen=True, kw_only=True)
class LoadStack:
    """What runs, and how jobs come to it: as the user `producer`, from this process."""

    redis: SecuredRedis
    ceph: CephServer
    bucket: S3Bucket
    workers: list[RunningCli]
    deployment: Deployment

    def lay_out(self, name: str, chunks: int) -> str:
        """Write a corpus of chunks of a few rows, and return its URI."""
        filesystem = self.bucket.filesystem()
        for first in range(0, chunks, CHUNKS_A_FILE):
            rows = ROWS_A_CHUNK * min(CHUNKS_A_FILE, chunks - first)
            table = pa.table({"id": range(rows), "text": ordinary_texts(rows, seed=first)})
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, row_group_size=ROWS_A_CHUNK)
            path = f"{self.bucket.name}/{name}/{first:06}.parquet"
            filesystem.pipe(path, sink.getvalue().to_pybytes())
        return self.bucket.key_uri(name)

    def score(self, corpus: str, job_id: str) -> float:
        """Score a job; return the seconds from its first message to its last chunk in the ledger.

        Raises:
            TimeoutError: A chunk died, or the job does not end.
        """
        spec = JobSpec(
            inputs=(corpus,),
            output=self._output(job_id),
            model=self.bucket.key_uri("model"),
            text_column="text",
            id_columns=("id",),
            chunk_rows=ROWS_A_CHUNK,
        )
        storage = self.deployment.storage
        manifest = create_job(storage, spec, pin_model(storage, spec.model), job_id=job_id)
        start, end = score_job(self.deployment, manifest)
        return end - start

    def workers_of(self, job_id: str) -> set[str]:
        """Return who scored the chunks of a job."""
        storage = self.deployment.storage
        chunks = self.deployment.ledger.status(job_id).chunk_count
        uris = (layout.result(self._output(job_id), chunk) for chunk in range(chunks))
        return {read_account(storage, uri).worker for uri in uris}

    def _output(self, job_id: str) -> str:
        return self.bucket.key_uri(f"scored/{job_id}")


@contextmanager
def load_stack(folder: Path, workers: int) -> Iterator[LoadStack]:
    """Run servers and workers whose files lie below `folder`; all have loaded their model."""
    with ExitStack() as stack:
        ceph = stack.enter_context(CephServer())
        bucket = ceph.create_bucket()
        (folder / "redis").mkdir()
        redis = stack.enter_context(SecuredRedis(folder / "redis"))
        filesystem = bucket.filesystem()
        filesystem.put(f"{tiny_model(folder / 'model')}/", f"{bucket.name}/model/", recursive=True)
        env = {
            **bucket.env,
            "BULKSCORE_TORCH_THREADS": "1",
            "BULKSCORE_LOG_LEVEL": "WARNING",
            "BULKSCORE_MODEL_CACHE_DIR": str(folder / "models"),
        }
        processes = [
            stack.enter_context(
                start_cli(
                    *("worker", "--device", "cpu", "--name", f"load-{number}"),
                    env={**env, **redis.env("worker")},
                )
            )
            for number in range(workers)
        ]
        os.environ |= {**env, **redis.env("producer")}
        made = LoadStack(
            redis=redis,
            ceph=ceph,
            bucket=bucket,
            workers=processes,
            deployment=Deployment.from_environment(),
        )
        _warm_up(made)
        yield made


def _warm_up(stack: LoadStack) -> None:
    """Score jobs until every worker has had part in one."""
    corpus = stack.lay_out("warm-up", 10 * len(stack.workers))
    seen: set[str] = set()
    for number in range(WARM_UP_JOBS):
        stack.score(corpus, f"warm-up-{number}")
        seen |= stack.workers_of(f"warm-up-{number}")
        if len(seen) == len(stack.workers):
            return
    raise TimeoutError(f"only {sorted(seen)} have done anything in {WARM_UP_JOBS} jobs")
