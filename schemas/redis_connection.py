"""A connection to Redis with explicit time-outs, and its errors in our own tree."""

import contextlib
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from schemas.errors import BrokerUnavailable
from schemas.settings import BrokerSettings, redact

# A command is sent again this often when the connection breaks. Each try waits for a whole
# time-out: with the defaults a frozen server is told of after some 10 s.
COMMAND_RETRIES = 1


def connect(settings: BrokerSettings) -> Any:
    """Return a Redis client with explicit time-outs; nothing is sent yet."""
    return redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_connect_timeout=settings.redis_connect_timeout_seconds,
        socket_timeout=settings.redis_socket_timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), COMMAND_RETRIES),
    )


@contextlib.contextmanager
def broker_errors(url: str) -> Iterator[None]:
    """Turn redis-py's errors into BrokerUnavailable that names the server, without password."""
    try:
        yield
    except redis.exceptions.AuthenticationError as error:
        raise BrokerUnavailable(f"Redis at {redact(url)} refuses the login: {error}") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
        raise BrokerUnavailable(f"Redis at {redact(url)} does not answer: {error}") from error
    except redis.exceptions.RedisError as error:
        raise BrokerUnavailable(f"Redis at {redact(url)} refused a command: {error}") from error
