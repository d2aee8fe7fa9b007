"""Sending dead chunks again: which, and as what generation.

The record on the object store comes first and the ledger follows, so that a reprocess that was
interrupted in between is completed by `resume`.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from producer.deployment import Deployment
from schemas import layout
from schemas.dead_letter import DeadLetter
from schemas.errors import UsageError
from schemas.generation import Generation
from schemas.job import Manifest
from schemas.resume import resume
from schemas.storage import Storage
from schemas.survey import Survey, read_dead_letters, survey


def choose(
    letters: Sequence[DeadLetter], *, codes: Collection[str] = (), chunks: Collection[int] = ()
) -> list[DeadLetter]:
    """Return the dead letters with one of these codes and chunks; no codes or chunks mean all.

    Raises:
        UsageError: A chunk that was asked for is not dead.
    """
    alive = sorted(set(chunks) - {letter.chunk for letter in letters})
    if alive:
        raise UsageError(f"not dead, so there is nothing to send again: chunk {_join(alive)}")
    return [
        letter
        for letter in letters
        if (not codes or letter.code in codes) and (not chunks or letter.chunk in chunks)
    ]


def find_dead_letters(
    storage: Storage,
    manifest: Manifest,
    *,
    codes: Collection[str] = (),
    chunks: Collection[int] = (),
) -> tuple[Survey, list[DeadLetter]]:
    """Return the state of storage and the dead letters to send again.

    Raises:
        UsageError: A chunk that was asked for is not dead, or the job was cancelled.
    """
    found = survey(storage, manifest)
    if found.cancelled:
        raise UsageError(
            f"job {manifest.job_id} was cancelled; `bulkscore resume {manifest.spec.output} "
            "--uncancel` lets it go on"
        )
    letters = read_dead_letters(storage, manifest, found)
    return found, choose(letters, codes=codes, chunks=chunks)


def reprocess(
    deployment: Deployment,
    manifest: Manifest,
    *,
    codes: Collection[str] = (),
    chunks: Collection[int] = (),
    token_budget: int | None = None,
) -> Generation | None:
    """Send dead chunks again in a new generation; None when there is nothing to send.

    Args:
        deployment: Where Redis and the object store are.
        manifest: The job.
        codes: Only chunks that died of one of these.
        chunks: Only these chunks.
        token_budget: Replaces the job's own for these chunks.
    """
    storage, output = deployment.storage, manifest.spec.output
    while True:
        found, letters = find_dead_letters(storage, manifest, codes=codes, chunks=chunks)
        if not letters:
            return None
        record = Generation(
            job_id=manifest.job_id,
            number=found.generation + 1,
            created_at=datetime.now(UTC),
            chunks=tuple(letter.chunk for letter in letters),
            token_budget=token_budget,
        )
        body = record.model_dump_json().encode()
        if storage.create(layout.generation(output, record.number), body):
            break
        # Somebody else reprocessed at the same time: look again at what is still dead.
    storage.delete(layout.summary(output))
    resume(storage, deployment.ledger, manifest)
    deployment.reconciler.run_once(only=manifest.job_id)
    return record


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
