"""What one pool child owns: its connections, its models and its share of a device.

Made in the child, after it has started; nothing here is inherited from the worker's main process.
"""

import contextlib
import functools
import logging
import os

from schemas.errors import JobUnknown
from schemas.ledger import Ledger
from schemas.settings import (
    BrokerSettings,
    ScheduleSettings,
    StorageSettings,
    WorkerSettings,
    load,
)
from schemas.storage import Storage
from schemas.task_queue import task_ledger
from worker.lifecycle.running import TaskRunner
from worker.model_store import ModelStore
from worker.models import ModelCache
from worker.run_dir import NAME_VARIABLE, beat, is_up
from worker.runner import ChunkRunner

logger = logging.getLogger(__name__)


def free_leases() -> None:
    """Free the chunks that an earlier process held under the name of this worker.

    Raises:
        BrokerUnavailable: The ledger does not answer; the leases will run out.
    """
    broker = load(BrokerSettings)
    for ledger in (Ledger(broker), task_ledger(broker)):
        for job_id in ledger.active():
            with contextlib.suppress(JobUnknown):  # it was lost, or has ended, a moment ago
                freed = ledger.disown(job_id, worker=worker_name())
                if freed:
                    logger.info(
                        "chunks %s of job %s are free again: the process that held them is gone",
                        freed,
                        job_id,
                        extra={"action": "disowned", "job_id": job_id},
                    )


def worker_name() -> str:
    """Return the name under which this process holds leases."""
    return os.environ.get(NAME_VARIABLE, f"pid-{os.getpid()}")


@functools.cache
def runner() -> ChunkRunner:
    """Return this process' runner, made at the first call."""
    settings = load(WorkerSettings)
    storage = Storage(load(StorageSettings))
    return ChunkRunner(
        ledger=Ledger(load(BrokerSettings)),
        storage=storage,
        models=ModelCache(
            ModelStore(storage, settings.model_cache_dir),
            capacity=settings.models_in_memory,
            device=settings.device,
            threads=settings.torch_threads,
        ),
        schedule=load(ScheduleSettings),
        settings=settings,
        worker=worker_name(),
        draining=_draining,
        beat=beat,
    )


@functools.cache
def task_runner() -> TaskRunner:
    """Return what runs the lifecycle tasks of this process, made at the first call."""
    settings = load(WorkerSettings)
    return TaskRunner(
        ledger=task_ledger(load(BrokerSettings)),
        storage=Storage(load(StorageSettings)),
        schedule=load(ScheduleSettings),
        folder=settings.task_dir,
        time_limit_seconds=settings.task_time_limit_seconds,
        worker=worker_name(),
        draining=_draining,
    )


def _draining() -> bool:
    return is_up("drain")
