"""Puts messages on the queues: the producer's only door to Celery."""

from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from schemas.job import Priority
from schemas.message import ChunkMessage
from schemas.redis_connection import broker_error
from schemas.transport import celery_settings, send, send_task

# What the transport raises where Redis cannot be used; a missing right comes as Redis says it.
UNUSABLE = (OperationalError, RedisError, OSError)
UNACKED = ("unacked", "unacked_index", "unacked_mutex")


def celery_app(redis_url: str) -> Celery:
    """Return an app that can send messages and read the control plane; it runs no task."""
    app = Celery("bulkscore", set_as_current=False)
    settings = celery_settings(redis_url)
    # Replies and events are consumed, and for whoever consumes kombu hands messages out again that
    # were held for long. That is for workers to do: here it looks under names of its own.
    settings["broker_transport_options"].update(
        {f"{name}_key": f"celeryev.{name}" for name in UNACKED}
    )
    app.conf.update(settings)
    return app


class Broker:
    """Sends chunk messages."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._app = celery_app(redis_url)

    def publish(self, messages: Sequence[ChunkMessage], priority: Priority) -> None:
        """Put messages on the queue of this priority.

        Raises:
            BrokerUnavailable: Some may have been sent and some not: send all again, a message
                too many is harmless.
        """
        try:
            send(self._app, messages, priority)
        except UNUSABLE as error:
            raise broker_error(self._url, error) from error

    def publish_task(self, task_id: str) -> None:
        """Put the message of a lifecycle task on its queue.

        Raises:
            BrokerUnavailable: It may have been sent or not: to send it again is harmless.
        """
        try:
            send_task(self._app, task_id)
        except UNUSABLE as error:
            raise broker_error(self._url, error) from error

    def serves(self, queue: str, timeout_seconds: float = 1.5) -> bool:
        """Say whether a worker that answers takes messages off a queue.

        Raises:
            BrokerUnavailable: Nobody can be asked.
        """
        try:
            asked = self._app.control.inspect(timeout=timeout_seconds)
            replies: dict[str, Any] = asked.active_queues() or {}
        except UNUSABLE as error:
            raise broker_error(self._url, error) from error
        return any(q["name"] == queue for queues in replies.values() for q in queues)

    def workers(self, timeout_seconds: float = 1.5) -> dict[str, Any]:
        """Return the workers that answer a ping, by name.

        Raises:
            BrokerUnavailable: Nobody can be asked.
        """
        try:
            replies: list[dict[str, Any]] = self._app.control.ping(timeout=timeout_seconds)
        except UNUSABLE as error:
            raise broker_error(self._url, error) from error
        return {name: answer for reply in replies for name, answer in reply.items()}
