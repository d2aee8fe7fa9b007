"""Bringing the ledger in step with the object store, which is the record."""

from dataclasses import dataclass

from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.survey import Survey, accounts, read_dead_letters, survey, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What `resume` found: whether the ledger had lost the job, and how its chunks stand."""

    restored: bool
    succeeded: int
    dead: int
    pending: int


def resume(storage: Storage, ledger: Ledger, manifest: Manifest) -> Resumed:
    """Enter a job again from its manifest, results and dead letters, or settle what differs.

    Safe at any time and any number of times; chunks that are running go on.
    """
    found = survey(storage, manifest)
    if _claims_too_much(ledger, manifest, found):
        ledger.forget(manifest.job_id)
    restored = _restore(storage, ledger, manifest, found)
    if not restored:
        _settle(storage, ledger, manifest, found)
    return Resumed(
        restored=restored,
        succeeded=len(found.results),
        dead=len(found.dead),
        pending=0 if found.cancelled else len(found.missing),
    )


def _claims_too_much(ledger: Ledger, manifest: Manifest, found: Survey) -> bool:
    """Say whether the ledger calls a chunk succeeded whose result is not there (any more)."""
    if manifest.job_id not in ledger.jobs():
        return False
    states = ledger.states(manifest.job_id)
    return any(states[chunk] is ChunkState.SUCCEEDED for chunk in found.missing)


def _restore(storage: Storage, ledger: Ledger, manifest: Manifest, found: Survey) -> bool:
    if manifest.job_id in ledger.jobs():
        return False
    fresh = not (found.results or found.dead or found.cancelled)
    restored = ledger.open(
        manifest.job_id,
        output=manifest.spec.output,
        priority=manifest.spec.priority,
        chunks=manifest.chunks,
        rows=manifest.rows,
        generation=found.generation,
        states=None if fresh else [found.state_of(c) for c in range(manifest.chunks)],
        counters=None if fresh else tally(storage, manifest, found).counters(),
    )
    if restored and found.cancelled:
        ledger.cancel(manifest.job_id)
    return restored


def _settle(storage: Storage, ledger: Ledger, manifest: Manifest, found: Survey) -> None:
    """Tell a ledger that knows the job what it missed."""
    states = ledger.states(manifest.job_id)
    done = [c for c in found.results if states[c] is not ChunkState.SUCCEEDED]
    for chunk, account in accounts(storage, manifest, done):
        ledger.finish(manifest.job_id, chunk, account)
    for letter in read_dead_letters(storage, manifest, found):
        if states[letter.chunk] is ChunkState.QUEUED:
            ledger.bury(manifest.job_id, letter.chunk, token="", code=letter.code, rows=letter.rows)
    if found.missing and ledger.status(manifest.job_id).state is JobState.FAILED:
        ledger.reopen(manifest.job_id, [], generation=found.generation)
