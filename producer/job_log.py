"""The log of a job: what the ledger keeps of its attempts, or what its dead letters do."""

import time
from collections.abc import Iterator

from producer.deployment import Deployment
from schemas.attempt_log import AttemptEvent
from schemas.errors import BrokerUnavailable, JobUnknown
from schemas.job import Manifest
from schemas.survey import read_dead_letters, survey

POLL_SECONDS = 0.5


def kept_log(deployment: Deployment, manifest: Manifest) -> tuple[list[AttemptEvent], bool]:
    """Return what happened to the job's chunks, oldest first, and whether the ledger knew it."""
    try:
        if deployment.ledger.knows(manifest.job_id):
            return deployment.ledger.events(manifest.job_id), True
    except BrokerUnavailable:
        pass
    storage = deployment.storage
    letters = read_dead_letters(storage, manifest, survey(storage, manifest))
    events = [
        AttemptEvent(
            at=attempt.at,
            event="ended",
            chunk=letter.chunk,
            attempt=attempt.number,
            generation=letter.generation,
            worker=attempt.worker,
            outcome="dead" if attempt == letter.attempts[-1] else "retrying",
            code=attempt.code,
            message=attempt.message,
            exception=attempt.exception,
            seconds=attempt.seconds,
            stages=attempt.stages,
        )
        for letter in letters
        for attempt in letter.attempts
    ]
    return sorted(events, key=lambda event: event.at), False


def follow_log(
    deployment: Deployment, manifest: Manifest, shown: list[AttemptEvent]
) -> Iterator[AttemptEvent]:
    """Yield what happens after `shown`, until the job has ended.

    Raises:
        BrokerUnavailable: The ledger does not answer.
    """
    ledger, job_id = deployment.ledger, manifest.job_id
    last = max((event.at for event in shown), default=None)
    seen = set(map(_key, shown))
    while True:
        try:
            ended = ledger.status(job_id).ended
        except JobUnknown:
            return
        since_ms = int(last.timestamp() * 1000) if last else 0
        for event in ledger.events(job_id, since_ms=since_ms):
            if _key(event) not in seen:
                seen.add(_key(event))
                last = event.at
                yield event
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _key(event: AttemptEvent) -> tuple[str, str, int]:
    return event.event, event.token, event.chunk
