"""How many workers score so many tokens by when, and what that costs."""

import math
import re
from datetime import datetime, timedelta

from producer.deployment import Deployment
from producer.jobs import find_manifest, known_jobs
from schemas.errors import BrokerUnavailable, InputMissing, UsageError
from schemas.finalize import read_summary
from schemas.record import Record

# Tokens are an estimate, and workers start, wait for storage and are replaced.
HEADROOM = 1.2

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


class Rate(Record):
    """Tokens that one worker scores in a second, and which job says so, None for the user."""

    tokens_per_second: float
    job_id: str | None = None


class Sizing(Record):
    """Workers for a deadline. `seconds` is how long they take by the estimate, without headroom.

    `short_of_chunks` says that there are fewer chunks than workers: more of them would be idle.
    """

    seconds_left: float
    worker_tokens_per_second: float
    rate_of_job: str | None
    workers: int
    seconds: float
    worker_hours: float
    cost: float | None
    short_of_chunks: bool


def size(
    *, tokens: int, chunks: int, seconds: float, rate: Rate, cost_per_hour: float | None = None
) -> Sizing:
    """Return how many workers score `tokens` in `seconds`, at least one.

    workers = ceil(1.2 x tokens / (rate x seconds)): 1.2 is the headroom.
    """
    workers = max(1, math.ceil(HEADROOM * tokens / (rate.tokens_per_second * seconds)))
    work = tokens / rate.tokens_per_second
    hours = work / 3_600
    return Sizing(
        seconds_left=seconds,
        worker_tokens_per_second=rate.tokens_per_second,
        rate_of_job=rate.job_id,
        workers=workers,
        seconds=work / workers,
        worker_hours=hours,
        cost=None if cost_per_hour is None else hours * cost_per_hour,
        short_of_chunks=workers > chunks,
    )


def seconds_until(deadline: str, now: datetime) -> float:
    """Return the seconds until a deadline: `8h`, `1d12h`, `06:00` or `2026-06-01T06:00`.

    Args:
        deadline: A duration, a time of day (the next time it is that late), or a moment; without
            a time zone in that of `now`.
        now: With a time zone.

    Raises:
        UsageError: It is none of these, or over.
    """
    text = deadline.strip()
    if _DURATION.fullmatch(text):
        parts = re.findall(r"([\d.]+)([dhms])", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        seconds = (_moment(text, now) - now).total_seconds()
    if seconds <= 0:
        raise UsageError(f"--deadline {deadline} is over")
    return seconds


def rate_of(deployment: Deployment, given: float | None, like: str | None) -> Rate:
    """Return what one worker does: as given, as in job `like`, or as in the last one that ended.

    Raises:
        UsageError: Nobody says.
        JobUnknown: There is no such job.
    """
    if given is not None:
        return Rate(tokens_per_second=given)
    if like is not None:
        manifest = find_manifest(deployment, like)
        try:
            ended = read_summary(deployment.storage, manifest.spec.output)
        except InputMissing:
            raise UsageError(f"--like {like}: the job has not ended") from None
        if ended.scoring_seconds <= 0 or not ended.tokens:
            raise UsageError(f"--like {like}: the job scored nothing")
        return Rate(tokens_per_second=ended.tokens / ended.scoring_seconds, job_id=manifest.job_id)
    try:
        jobs = known_jobs(deployment)
    except BrokerUnavailable:
        jobs = []
    for job in jobs:
        if job.closed_at is not None and job.tokens and job.scoring_seconds > 0:
            return Rate(tokens_per_second=job.tokens / job.scoring_seconds, job_id=job.job_id)
    raise UsageError(
        "--deadline needs to know what one worker does, and no job has ended yet: give "
        "--worker-tokens-per-second N, or --like JOB"
    )


def _moment(text: str, now: datetime) -> datetime:
    if re.fullmatch(r"\d{1,2}:\d{2}", text):
        hour, minute = map(int, text.split(":"))
        if hour < 24 and minute < 60:
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return today if today > now else today + timedelta(days=1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--deadline {text}: give a duration such as 8h or 1d12h, a time such as 06:00, or a "
            "moment such as 2026-06-01T06:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
