"""One chunk: where it lies, what became of it, why, and how to try it again on this machine."""

import shlex
from collections.abc import Sequence

from producer.deployment import Deployment
from schemas import layout
from schemas.attempt_log import AttemptEvent, AttemptView, attempts_of, with_records
from schemas.dead_letter import AttemptRecord, DeadLetter
from schemas.errors import BrokerUnavailable, JobUnknown, UsageError
from schemas.job import JobId, Manifest, Record, parse_record
from schemas.manifest import read_chunks
from schemas.results import ResultAccount, read_account
from schemas.states import ChunkState
from schemas.survey import survey


class ChunkReport(Record):
    """One chunk: where it lies, where it is, and what became of it.

    `attempts` are those of which the ledger or the dead letter knows, the oldest first. `reproduce`
    is the command that scores the chunk again on this machine and changes nothing.
    """

    job_id: JobId
    chunk: int
    state: ChunkState
    model: str
    file: str
    row_start: int
    rows: int
    attempts: tuple[AttemptView, ...]
    result_uri: str | None
    result: ResultAccount | None
    dead_letter: DeadLetter | None
    reproduce: str


def chunk_report(deployment: Deployment, manifest: Manifest, chunk: int) -> ChunkReport:
    """Return what is known of one chunk.

    Raises:
        UsageError: The job has no such chunk.
    """
    require_chunk(manifest, chunk)
    storage, output = deployment.storage, manifest.spec.output
    place = read_chunks(storage, manifest)[chunk]
    found = survey(storage, manifest)
    letter = None
    if chunk in found.dead:
        uri = layout.dead_letter(output, chunk, found.dead[chunk])
        letter = parse_record(DeadLetter, storage.read(uri), uri)
    state, records, events = _in_ledger(deployment, manifest.job_id, chunk)
    attempts = attempts_of(events)
    if letter is not None:
        attempts = with_records(attempts, letter.attempts, letter.generation)
    elif records:
        generation = max((attempt.generation for attempt in attempts), default=found.generation)
        attempts = with_records(attempts, records, generation)
    result_uri = layout.result(output, chunk) if chunk in found.results else None
    return ChunkReport(
        job_id=manifest.job_id,
        chunk=chunk,
        state=state or found.state_of(chunk),
        model=manifest.model_refs,
        file=manifest.files[place.file].uri,
        row_start=place.row_start,
        rows=place.rows,
        attempts=tuple(attempts),
        result_uri=result_uri,
        result=read_account(storage, result_uri) if result_uri else None,
        dead_letter=letter,
        reproduce=shlex.join(["bulkscore", "replay", output, "--chunk", str(chunk)]),
    )


def require_chunk(manifest: Manifest, chunk: int) -> None:
    """Raise UsageError when the job has no such chunk."""
    if chunk >= manifest.chunks:
        raise UsageError(f"job {manifest.job_id} has the chunks 0 to {manifest.chunks - 1}")


def _in_ledger(
    deployment: Deployment, job_id: str, chunk: int
) -> tuple[ChunkState | None, tuple[AttemptRecord, ...], Sequence[AttemptEvent]]:
    try:
        ledger = deployment.ledger
        state, history = ledger.state_of(job_id, chunk), ledger.history(job_id, chunk)
        events = [event for event in ledger.events(job_id) if event.chunk == chunk]
    except (JobUnknown, BrokerUnavailable):
        return None, (), ()
    return state, history, events
