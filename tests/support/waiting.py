"""Waiting for a condition with a deadline and a message that says what did not happen."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(
    predicate: Callable[[], Value],
    timeout: float = 10.0,
    *,
    interval: float = 0.05,
    message: str | Callable[[], str] = "the condition",
    ignore: tuple[type[Exception], ...] = (),
) -> Value:
    """Poll until the predicate returns something true, and return that.

    Args:
        predicate: Called again and again; side effects should be harmless.
        timeout: Seconds until the wait is given up.
        interval: Seconds between two calls.
        message: What is waited for; a function is called only when the wait fails, so that it
            can add the log of a server.
        ignore: Exceptions of the predicate that mean "not yet".

    Raises:
        AssertionError: The time is over; says what was awaited and what was last seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            value = predicate()
            if value:
                return value
            seen = value
        except ignore as error:
            seen = error
        if time.monotonic() >= deadline:
            awaited = message() if callable(message) else message
            raise AssertionError(f"waited {timeout:g} s for {awaited}; last seen: {seen!r}")
        time.sleep(interval)
