"""The s3fs file system as we want it: time-outs and retries that are explicit, and no caches."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from schemas.settings import StorageSettings
from schemas.storage_errors import may_pass

# Requests under way at the same time: footers of many files are read at once.
S3_CONNECTIONS = 32

# A request that is answered "not now" (5xx, throttling) is cheap: it is sent so many times, each
# time after a random part of a wait that doubles. A store that turns away every third request so
# fails one call in a thousand.
ANSWERED_TRIES = 6
FIRST_WAIT_SECONDS = 0.4
LONGEST_WAIT_SECONDS = 2.0

# An upload that moves slower than this is given up: aiohttp has no time-out for a server that
# takes the beginning of a body and then stops reading.
SLOWEST_UPLOAD_BYTES_PER_SECOND = 256 * 1024


# Each is told of every request that was sent: what for, the status of the answer, None where there
# was none, and how often this request had been sent by then.
WATCHERS: list[Callable[[str, int | None, int], None]] = []


def _tell(
    watch: Callable[[str, int | None, int], None],
    *,
    operation: Any,
    response: Any,
    attempts: int,
    **_: Any,
) -> None:
    watch(operation.name, response and response[0].status_code, attempts)


def connect_s3(settings: StorageSettings, *, retries: int) -> Any:
    """Return an s3fs file system of its own; with one retry, each request is sent just once."""
    import aiobotocore.session
    import s3fs
    from botocore.handlers import add_expect_header

    session = aiobotocore.session.AioSession()
    # By itself s3fs tries again when the connection fails or the code is SlowDown, but not after
    # other answers of 5xx, nor after a HEAD, whose answer has no code; and it waits little.
    if retries > 1:
        session.register("needs-retry.s3", _seconds_to_next_try)
    # aiohttp waits for "100 Continue" for ever, whatever the time-outs.
    session.unregister("before-call.s3", add_expect_header)
    for watch in WATCHERS:
        session.register("needs-retry.s3", partial(_tell, watch))
    fs = s3fs.S3FileSystem(
        session=session,
        endpoint_url=settings.s3_endpoint_url,
        use_listings_cache=False,
        skip_instance_cache=True,
        s3_additional_kwargs=_encryption(settings),
        config_kwargs={
            "connect_timeout": settings.s3_connect_timeout_seconds,
            "read_timeout": settings.s3_read_timeout_seconds,
            "max_pool_connections": S3_CONNECTIONS,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "s3": {"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
        },
    )
    fs.retries = retries
    return fs


def _encryption(settings: StorageSettings) -> dict[str, str]:
    """Return what every write says of the key it is to be encrypted by."""
    if settings.s3_sse_kms_key_id is None:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": settings.s3_sse_kms_key_id}


def _seconds_to_next_try(*, response: Any, attempts: int, **_: Any) -> float | None:
    """Say when to send a request again that was answered so, as botocore asks its handlers."""
    if response is None or attempts >= ANSWERED_TRIES:
        return None
    http, parsed = response
    if not may_pass(str(parsed.get("Error", {}).get("Code", "")), http.status_code):
        return None
    return random.uniform(0, min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempts - 1)))


def upload_seconds(settings: StorageSettings, size: int) -> float:
    """Return how long an upload of `size` bytes may take, further tries included."""
    waiting = settings.s3_connect_timeout_seconds + settings.s3_read_timeout_seconds
    return settings.s3_retries * (waiting + size / SLOWEST_UPLOAD_BYTES_PER_SECOND)
