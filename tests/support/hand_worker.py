"""A worker that is played by hand: takes messages off the queue and scores them when told to.

The attempt is the real one, in this process; only Celery is left out, so that a test decides when
a chunk is taken and sees the job at rest in between.
"""

import base64
import json
from pathlib import Path

import redis

from schemas.job import PRIORITIES
from schemas.ledger import Ledger
from schemas.message import ChunkMessage, parse_message, queue_name
from schemas.settings import BrokerSettings, ScheduleSettings, StorageSettings, WorkerSettings
from schemas.storage import Storage
from worker.model_store import ModelStore
from worker.models import ModelCache
from worker.runner import ChunkRunner


class HandWorker:
    """Takes messages from all queues, the urgent ones first."""

    def __init__(self, redis_url: str, model_cache: Path, *, name: str = "hand@test") -> None:
        """Connect to the broker; nothing is taken yet."""
        self._redis = redis.Redis.from_url(redis_url)
        storage = Storage(StorageSettings())
        self._runner = ChunkRunner(
            ledger=Ledger(BrokerSettings(redis_url=redis_url)),
            storage=storage,
            models=ModelCache(
                ModelStore(storage, model_cache), capacity=1, device="cpu", threads=1
            ),
            schedule=ScheduleSettings(),
            settings=WorkerSettings(),
            worker=name,
            draining=lambda: False,
        )

    def take(self) -> ChunkMessage | None:
        """Take the next message, or None when the queues are empty."""
        for priority in PRIORITIES:
            body = self._redis.rpop(queue_name(priority))
            if isinstance(body, bytes):
                _, arguments, _ = json.loads(base64.b64decode(json.loads(body)["body"]))
                return parse_message(arguments["message"])
        return None

    def work(self, most: int | None = None) -> list[str]:
        """Score chunks until the queues are empty, or so many; return how each ended."""
        outcomes: list[str] = []
        while most is None or len(outcomes) < most:
            message = self.take()
            if message is None:
                break
            outcomes.append(self._runner.run(message))
        return outcomes

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
