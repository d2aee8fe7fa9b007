"""Faults of Redis: killed, emptied, set back, frozen, full; messages doubled and lost."""

import json
import random
from contextlib import suppress

import redis

from schemas.job import PRIORITIES
from schemas.message import queue_name
from support.chaos.stack import Stack

# A frozen server is noticed after the longest socket time-out there is: 10 s.
FROZEN_SECONDS = (6.0, 14.0)
AWAY_SECONDS = (0.5, 6.0)


def kill_redis(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for Redis, which comes back with its append-only file."""
    stack.redis.kill()
    stack.pause(draw.uniform(*AWAY_SECONDS))
    stack.redis.start()


def restart_redis_empty(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for Redis, which comes back with nothing."""
    stack.redis.kill()
    stack.redis.forget_all()
    stack.pause(draw.uniform(*AWAY_SECONDS))
    stack.redis.start()


def fail_over_redis(stack: Stack, draw: random.Random) -> None:
    """SIGKILL for Redis, which comes back without its latest writes, as a replica that lagged."""
    stack.redis.kill()
    stack.redis.forget_latest(share=draw.uniform(0.02, 0.4))
    stack.pause(draw.uniform(*AWAY_SECONDS))
    stack.redis.start()


def freeze_redis(stack: Stack, draw: random.Random) -> None:
    """SIGSTOP for Redis: connections stay open and nothing answers."""
    stack.redis.pause()
    stack.pause(draw.uniform(*FROZEN_SECONDS))
    stack.redis.resume()


def flush_redis(stack: Stack, draw: random.Random) -> None:
    """FLUSHALL: queue and ledger are gone while everybody is connected."""
    with stack.client() as client:
        client.flushall()


def fill_redis(stack: Stack, draw: random.Random) -> None:
    """Redis has no memory left (`noeviction`): it refuses every write."""
    with stack.client() as client:
        client.config_set("maxmemory", 1)
        stack.pause(draw.uniform(*AWAY_SECONDS))
        client.config_set("maxmemory", 0)


def drop_connections(stack: Stack, draw: random.Random) -> None:
    """CLIENT KILL for every connection, a few times."""
    with stack.client() as client:
        for _ in range(draw.randint(1, 4)):
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
            stack.pause(draw.uniform(0, 1))


def double_messages(stack: Stack, draw: random.Random) -> None:
    """Every message is there twice: those that wait, and those that are being worked on."""
    with stack.client() as client:
        for name in map(queue_name, PRIORITIES):
            _push(client, name, client.lrange(name, 0, -1))
        for held in client.hvals("unacked"):
            body, _, name = json.loads(held)
            _push(client, name, [json.dumps(body)])


def lose_messages(stack: Stack, draw: random.Random) -> None:
    """Every waiting message is lost, as those are that a killed worker had just taken."""
    with stack.client() as client:
        client.delete(*map(queue_name, PRIORITIES))


def _push(client: redis.Redis, name: str, bodies: list[str]) -> None:
    with suppress(redis.exceptions.OutOfMemoryError):
        if bodies:
            client.rpush(name, *bodies)
