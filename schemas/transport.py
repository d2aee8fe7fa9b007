"""How messages travel: the Celery settings both sides must agree on, as plain values.

The reasons stand beside the values; what they were measured against is in
`docs/decisions/0003-celery-on-redis.md`.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from schemas.job import PRIORITIES, Priority
from schemas.message import MESSAGE_VERSION, QUEUE_PREFIX, TASK_NAME, ChunkMessage, queue_name
from schemas.redis_sentinel import is_sentinel, sentinels
from schemas.redis_tls import tls_options
from schemas.settings import DEFAULT_VISIBILITY_SECONDS
from schemas.task_queue import QUEUE as LIFECYCLE_QUEUE
from schemas.task_queue import TASK_NAME as LIFECYCLE_TASK_NAME


def celery_settings(
    redis_url: str, *, visibility_seconds: float = DEFAULT_VISIBILITY_SECONDS
) -> dict[str, Any]:
    """Return the settings of every Celery app of ours, on the worker and the producer alike.

    Args:
        redis_url: The broker, as `BrokerSettings` has it: what it says of TLS is not left to kombu,
            which would verify nothing.
        visibility_seconds: See `WorkerSettings`; only workers hand messages out again.
    """
    watched = sentinels(redis_url) if is_sentinel(redis_url) else None
    return {
        "broker_url": watched.kombu_url if watched else redis_url,
        "broker_use_ssl": tls_options(redis_url) or None,
        # A result backend can wedge a worker; results are objects, states are in the ledger.
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": queue_name("normal"),
        "task_create_missing_queues": True,
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # Both hand the message of a lost or timed-out child out again; only the ledger's count of
        # begun attempts ends that.
        "task_reject_on_worker_lost": True,
        "task_acks_on_timeout": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_transport_options": {
            "visibility_timeout": visibility_seconds,
            # Sweep period is the product: 2 s instead of kombu's 100 s.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "queue_order_strategy": "priority",
            **(watched.kombu_options if watched else {}),
        },
    }


def queues(names: Sequence[str] = PRIORITIES) -> str:
    """Return the `-Q` argument that drains the queues in this order."""
    return ",".join(f"{QUEUE_PREFIX}{name}" for name in names)


def send(app: Any, messages: Sequence[ChunkMessage], priority: Priority) -> None:
    """Put messages on the queue of this priority through a Celery app."""
    with app.producer_or_acquire() as producer:
        for message in messages:
            arguments = publication(message, priority, nonce=uuid.uuid4().hex[:8])
            app.send_task(producer=producer, **arguments)


def send_task(app: Any, task_id: str) -> None:
    """Put the message of a lifecycle task on the queue of such tasks."""
    app.send_task(
        name=LIFECYCLE_TASK_NAME,
        kwargs={"task_id": task_id},
        queue=LIFECYCLE_QUEUE,
        task_id=f"{task_id}.{uuid.uuid4().hex[:8]}",
        argsrepr="()",
        kwargsrepr=f"task={task_id}",
        ignore_result=True,
        retry=False,
    )


def publication(message: ChunkMessage, priority: Priority, *, nonce: str) -> dict[str, Any]:
    """Return the arguments of `send_task` for one message.

    `argsrepr` and `kwargsrepr` are what Flower shows: ids and numbers.
    """
    return {
        "name": TASK_NAME,
        "kwargs": {"message": message.model_dump(mode="json")},
        "queue": queue_name(priority),
        "task_id": f"{message.job_id}.{message.chunk}.g{message.generation}.{nonce}",
        "argsrepr": "()",
        "kwargsrepr": (
            f"job={message.job_id} chunk={message.chunk} generation={message.generation}"
        ),
        "headers": {"message_version": MESSAGE_VERSION},
        "ignore_result": True,
        "retry": False,
    }
