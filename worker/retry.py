"""What follows an error: another attempt, and when, or the dead letter. Values in, value out."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import BulkError, DeviceFailed, TransientError, UnexpectedError
from schemas.settings import ScheduleSettings

# An exception outside our tree may be a passing fault, but a second one is a bug to look at.
MAX_UNEXPECTED_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `delay_seconds` have passed."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Bury:
    """Set the chunk aside under this code."""

    code: str


def decide(
    error: BulkError,
    attempt: int,
    settings: ScheduleSettings,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Retry | Bury:
    """Return what follows `error` at the `attempt`-th try, counted from 1.

    The delay doubles with each attempt up to a cap, and half of it is random ("equal jitter"),
    so that chunks that failed together do not come back together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    if not isinstance(error, TransientError) or attempt >= _limit(error, settings):
        return Bury(error.code)
    full = min(settings.retry_cap_seconds, settings.retry_base_seconds * 2 ** (attempt - 1))
    return Retry(full / 2 + uniform(0, full / 2))


def _limit(error: BulkError, settings: ScheduleSettings) -> float:
    """Return the attempt at which `error` buries the chunk."""
    if isinstance(error, DeviceFailed):
        # As if the process had died: such a chunk is taken row by row, and `schemas.trail` ends it.
        return math.inf
    if isinstance(error, UnexpectedError):
        return min(settings.max_attempts, MAX_UNEXPECTED_ATTEMPTS)
    return settings.max_attempts
