"""Bringing the ledger in step with the object store, which is the record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas import layout
from schemas.errors import JobUnknown, OutputTaken
from schemas.finalize import has_summary
from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from schemas.supersede import supersede
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

    Safe at any time and any number of times; chunks that are running go on. What is written to
    the store before the ledger hears of it (results, dead letters, reprocess records, the marker
    of a cancelled job) is settled here when the writer died in between, and so are results of
    models that were replaced. A job that has ended and whose summary is gone or damaged ends anew.

    Raises:
        OutputTaken: The ledger knows another job by this id.
    """
    # Before the survey: an object comes before its state, so that a state known now whose object
    # the survey does not find has lost it.
    known = _known_states(ledger, manifest)
    supersede(storage, manifest)
    found = survey(storage, manifest)
    if found.missing:
        storage.delete(layout.success_marker(manifest.spec.output))
    if known and any(known[chunk] is ChunkState.SUCCEEDED for chunk in found.missing):
        ledger.forget(manifest.job_id)
        known = None
    restored = False
    if known is None:
        restored = _restore(storage, ledger, manifest, found)
    else:
        _settle(storage, ledger, manifest, found, known)
    if manifest.spec.drift_reference is not None:
        ledger.await_drift(manifest.job_id)
    return Resumed(
        restored=restored,
        succeeded=len(found.results),
        dead=len(found.dead),
        pending=0 if found.cancelled else len(found.missing),
    )


def bring_back(storage: Storage, ledger: Ledger, manifest: Manifest) -> Resumed | None:
    """Enter a job again that the ledger has lost; None when it is there, or had ended.

    A job has ended once its summary is written. One that was halted or stopped and has none yet
    goes on, and is soon halted or stopped again by the same cause.

    Raises:
        OutputTaken: The ledger knows another job by this id.
    """
    if ledger.knows(manifest.job_id) or storage.exists(layout.summary(manifest.spec.output)):
        return None
    return resume(storage, ledger, manifest)


def count_results(
    storage: Storage,
    ledger: Ledger,
    manifest: Manifest,
    found: Survey,
    known: Sequence[ChunkState],
) -> int:
    """Tell the ledger of results whose writer died before it could; return how many it was told.

    A damaged result is no news: its chunk stays as it is, and whoever works on it sees it.
    """
    done = [c for c in found.results if known[c] is not ChunkState.SUCCEEDED]
    return sum(
        ledger.finish(manifest.job_id, chunk, account)
        for chunk, account in accounts(storage, manifest, done)
    )


def _known_states(ledger: Ledger, manifest: Manifest) -> list[ChunkState] | None:
    try:
        output = ledger.status(manifest.job_id).output
        states = ledger.states(manifest.job_id)
    except JobUnknown:
        return None
    if output != manifest.spec.output:
        raise OutputTaken(
            f"the ledger knows job {manifest.job_id} with the output {output}, "
            f"not {manifest.spec.output}"
        )
    return states


def _restore(storage: Storage, ledger: Ledger, manifest: Manifest, found: Survey) -> bool:
    if found.missing and not found.cancelled:
        storage.delete(layout.summary(manifest.spec.output))
    fresh = not (found.results or found.dead or found.cancelled)
    sums = None if fresh else tally(storage, manifest, found)
    restored = ledger.open(
        manifest.job_id,
        output=manifest.spec.output,
        priority=manifest.spec.priority,
        chunks=manifest.chunks,
        rows=manifest.rows,
        generation=found.generation,
        states=None if fresh else [found.state_of(c) for c in range(manifest.chunks)],
        counters=sums.counters() if sums else None,
        buried=sums.buried if sums else None,
        limits=found.limits,
    )
    if restored and found.cancelled:
        ledger.cancel(manifest.job_id)
    return restored


def _settle(
    storage: Storage,
    ledger: Ledger,
    manifest: Manifest,
    found: Survey,
    known: Sequence[ChunkState],
) -> None:
    """Tell a ledger that knows the job what it missed."""
    job_id = manifest.job_id
    count_results(storage, ledger, manifest, found, known)

    waiting = (ChunkState.QUEUED, ChunkState.RETRYING)
    dead = {c: g for c, g in found.dead.items() if known[c] in waiting}
    for letter in read_dead_letters(storage, manifest, replace(found, dead=dead)):
        ledger.bury(job_id, letter.chunk, token="", code=letter.code, rows=letter.rows)

    status, output = ledger.status(job_id), manifest.spec.output
    ended = (ChunkState.DEAD, ChunkState.CANCELLED)
    missing = [] if found.cancelled else found.missing
    sent_again = [c for c in missing if known[c] in ended]
    goes_on = missing and status.state is JobState.FAILED
    changed = not found.cancelled and found.generation > status.generation
    unsaid = status.ended and not has_summary(storage, output)
    if sent_again or goes_on or changed or unsaid:
        storage.delete(layout.summary(output))
        ledger.reopen(job_id, sent_again, generation=found.generation, limits=found.limits)
    if found.cancelled:
        ledger.cancel(job_id)
