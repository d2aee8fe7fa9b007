"""A connection to Redis with explicit time-outs, and its errors in our own tree."""

import contextlib
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from schemas.errors import BrokerRefused, BrokerUnavailable
from schemas.redis_sentinel import is_sentinel, sentinels
from schemas.settings import BrokerSettings, redact

# A command is sent again this often when the connection breaks. Each try waits for a whole
# time-out: with the defaults a frozen server is told of after some 10 s.
COMMAND_RETRIES = 1
# A server that wants a certificate of its clients may close the line before it says so.
_CERTIFICATE_HINT = (
    "; it may want a certificate of ours: BULKSCORE_REDIS_CERT_FILE and BULKSCORE_REDIS_KEY_FILE"
)
# What Redis and Valkey say of a script that does what its caller may not.
_DENIED_IN_SCRIPT = ("user executing the script can't", "ACL failure")


def connect(settings: BrokerSettings) -> Any:
    """Return a Redis client with explicit time-outs; nothing is sent yet."""
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": settings.redis_connect_timeout_seconds,
        "socket_timeout": settings.redis_socket_timeout_seconds,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.1), COMMAND_RETRIES),
    }
    if is_sentinel(settings.redis_url):
        return sentinels(settings.redis_url).client(**options)
    return redis.Redis.from_url(settings.redis_url, **options)


@contextlib.contextmanager
def broker_errors(url: str) -> Iterator[None]:
    """Turn redis-py's errors into BrokerUnavailable that names the server, without password."""
    try:
        yield
    except (redis.exceptions.RedisError, OSError) as error:
        raise broker_error(url, error) from error


def broker_error(url: str, error: Exception) -> BrokerUnavailable:
    """Return our error for one of redis-py, or of kombu, that wraps one."""
    place, causes = f"Redis at {redact(url)}", list(_causes(error))
    words = str(error)
    if any(isinstance(cause, redis.exceptions.AuthenticationError) for cause in causes):
        return BrokerRefused(f"{place} refuses the login: {words}")
    denied = any(isinstance(cause, redis.exceptions.NoPermissionError) for cause in causes)
    if denied or any(said in words for said in _DENIED_IN_SCRIPT):
        return BrokerRefused(f"{place} gives this user too few rights (ACL): {words}")
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return BrokerRefused(
            f"{place} shows a certificate that cannot be trusted: {words}; BULKSCORE_REDIS_CA_FILE "
            "names the file of its authority, BULKSCORE_REDIS_URL the host it was made for"
        )
    if "SSL" in words:
        return BrokerRefused(f"{place} and we do not agree on TLS: {words}")
    unanswered = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
    if isinstance(error, redis.exceptions.RedisError) and not isinstance(error, unanswered):
        return BrokerUnavailable(f"{place} refused a command: {words}")
    hint = _CERTIFICATE_HINT if "EOF occurred in violation of protocol" in words else ""
    return BrokerUnavailable(f"{place} does not answer: {words}{hint}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
