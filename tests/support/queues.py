"""What lies on a queue, and a worker that takes a message and is never heard of again."""

import base64
import json
from collections.abc import Sequence

import redis

from schemas.job import Priority
from schemas.message import ChunkMessage, parse_message, queue_name


def waiting(server: redis.Redis, priority: Priority = "normal") -> list[ChunkMessage]:
    """Return the messages on a queue, first the one that is taken next."""
    bodies: Sequence[str] = server.lrange(queue_name(priority), 0, -1)  # type: ignore[assignment]
    return [_message(body) for body in reversed(bodies)]


def take(server: redis.Redis, priority: Priority = "normal") -> ChunkMessage:
    """Take the next message off a queue, as a worker does before anything else."""
    body = server.rpop(queue_name(priority))
    assert isinstance(body, str), f"no message on the queue {priority}"
    return _message(body)


def _message(body: str) -> ChunkMessage:
    _, arguments, _ = json.loads(base64.b64decode(json.loads(body)["body"]))
    return parse_message(arguments["message"])
