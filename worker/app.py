"""The Celery app of the worker, and what its main process does beside feeding its child.

The main process loads no torch. It keeps the messages it holds from being handed out again
(`VisibilityExtender`), reconciles when elected, and raises the drain flag at SIGTERM.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery, bootsteps, signals
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from schemas.job import Priority
from schemas.ledger import Ledger
from schemas.message import ChunkMessage
from schemas.reconcile_metrics import count_passes
from schemas.reconciler import Reconciler
from schemas.redis_connection import broker_error
from schemas.settings import (
    BrokerSettings,
    RegistrySettings,
    ScheduleSettings,
    StorageSettings,
    WorkerSettings,
    load,
)
from schemas.storage import Storage
from schemas.task_queue import TASK_NAME as LIFECYCLE_TASK_NAME
from schemas.task_queue import TaskReconciler, task_ledger
from schemas.task_record import tasks_root
from schemas.transport import celery_settings, send, send_task
from worker.probes import BEAT_SECONDS
from worker.run_dir import lower_flag, raise_flag

logger = logging.getLogger(__name__)

# What the transport raises where Redis cannot be used; a missing right comes as Redis says it.
UNUSABLE = (OperationalError, RedisError, OSError)
# The child imports torch and loads the model inside its first task; a new child that has not
# reported by then is killed by Celery, whose default of 4 s would kill it for ever.
CHILD_START_SECONDS = 300
# How far the time limit that kills the child lies above the one that ends a chunk gently.
HARD_LIMIT_MARGIN_SECONDS = 60
# How often a message is kept from being handed out again before it would be.
EXTENSIONS_PER_VISIBILITY = 6


def make_app() -> Celery:
    """Return the worker's app, set up from the environment."""
    made = Celery("bulkscore", include=["worker.tasks"])
    settings = load(WorkerSettings)
    visibility = settings.visibility_seconds
    made.conf.update(
        **celery_settings(load(BrokerSettings).redis_url, visibility_seconds=visibility),
        worker_pool="prefork",
        worker_concurrency=1,
        # CUDA refuses a forked child; a spawned one starts clean.
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=CHILD_START_SECONDS,
        task_time_limit=settings.chunk_time_limit_seconds + HARD_LIMIT_MARGIN_SECONDS,
        task_annotations={
            LIFECYCLE_TASK_NAME: {
                "time_limit": settings.task_time_limit_seconds + HARD_LIMIT_MARGIN_SECONDS
            }
        },
    )
    made.steps["consumer"].add(VisibilityExtender)
    made.steps["consumer"].add(Connected)
    made.steps["worker"].add(ReconcilerThread)
    made.steps["worker"].add(Beat)
    return made


class Beat(bootsteps.StartStopStep):
    """Says every few seconds that the main process goes round, see `worker.probes`."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._timer: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Begin; there is no connection yet."""
        raise_flag("offline")
        raise_flag("hub")
        self._timer = parent.timer.call_repeatedly(BEAT_SECONDS, raise_flag, ("hub",))

    def stop(self, parent: Any) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connected(bootsteps.StartStopStep):
    """Says whether there is a connection to Redis, without which the main process only waits."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """There is one."""
        raise_flag("hub")
        lower_flag("offline")

    def stop(self, parent: Any) -> None:
        """There is none any more."""
        raise_flag("offline")


class VisibilityExtender(bootsteps.StartStopStep):
    """Renews the visibility of held messages, so that a long chunk is not handed out twice.

    There is no official way: this uses kombu's own names, pinned in the constraints and tested.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._timer: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Extend every few seconds as long as the consumer runs."""
        visibility = parent.app.conf.broker_transport_options["visibility_timeout"]
        self._timer = parent.timer.call_repeatedly(
            visibility / EXTENSIONS_PER_VISIBILITY,
            extend_visibility,
            (parent.task_consumer.channel,),
        )

    def stop(self, parent: Any) -> None:
        """Stop extending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def extend_visibility(channel: Any) -> None:
    """Move the time of every message that `channel` holds to now.

    XX: an entry that is gone must not come back without its message.
    """
    held = [tag for tag in list(channel.qos._delivered) if tag not in channel.qos._dirty]
    if not held:
        return
    try:
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, dict.fromkeys(held, time.time()), xx=True)
    except (OSError, *channel.connection_errors) as error:
        logger.warning("visibility not extended: %s", error, extra={"action": "extend_failed"})


class ReconcilerThread(bootsteps.StartStopStep):
    """Runs the reconciler in the worker's main process while it is elected."""

    def __init__(self, parent: Any, **options: Any) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self.reconciler().run_forever,
            args=(self._stop,),
            name="reconciler",
            daemon=True,
        )
        self._thread.start()

    def reconciler(self) -> Reconciler | TaskReconciler:
        """Return what the thread runs."""
        ledger = Ledger(load(BrokerSettings))
        storage = Storage(load(StorageSettings))
        return Reconciler(ledger, storage, publish, load(ScheduleSettings), count_passes)

    def stop(self, parent: Any) -> None:
        """Let the pass that runs come to its end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    terminate = stop


class TaskReconcilerThread(ReconcilerThread):
    """Does the same for lifecycle tasks, in workers that serve them."""

    def reconciler(self) -> TaskReconciler:
        """Return what the thread runs."""
        models_uri = load(RegistrySettings).models_uri
        return TaskReconciler(
            task_ledger(load(BrokerSettings)),
            Storage(load(StorageSettings)),
            tasks_root(models_uri) if models_uri else None,
            publish_task,
            load(ScheduleSettings),
        )


def look_after_tasks() -> None:
    """Have this worker reconcile lifecycle tasks, too."""
    app.steps["worker"].add(TaskReconcilerThread)


def publish(messages: Sequence[ChunkMessage], priority: Priority) -> None:
    """Put messages on the queue of this priority; see `producer.broker.Broker.publish`."""
    try:
        send(app, messages, priority)
    except UNUSABLE as error:
        raise broker_error(app.conf.broker_url, error) from error


def publish_task(task_id: str) -> None:
    """Put the message of a lifecycle task on its queue."""
    try:
        send_task(app, task_id)
    except UNUSABLE as error:
        raise broker_error(app.conf.broker_url, error) from error


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    raise_flag("drain")


@signals.worker_ready.connect
def _ready(**_: Any) -> None:
    raise_flag("ready")


app = make_app()
