"""Finding jobs by id or output, and cancelling one.

The ledger is asked first; the object store, which is the record, answers for jobs that the ledger
has lost or never knew.
"""

from datetime import UTC, datetime

from producer.deployment import Deployment
from producer.job_report import JobReport, report_of
from schemas import layout
from schemas.collection import why_no_job
from schemas.errors import BrokerUnavailable, JobUnknown, UsageError
from schemas.job import JobId, Manifest, Record
from schemas.locations import canonical
from schemas.manifest import read_manifest
from schemas.resume import resume
from schemas.states import ChunkState, JobState


class Cancellation(Record):
    """The marker of a cancelled job."""

    job_id: JobId
    cancelled_at: datetime


def find_manifest(deployment: Deployment, reference: str) -> Manifest:
    """Return the manifest of the job that `reference`, an id or an output URI, names.

    Raises:
        JobUnknown: The ledger knows no such job and no job's output lies there.
        StorageUnavailable: The store of the output does not answer; told within 10 seconds.
    """
    return read_manifest(deployment.storage, _output(deployment, reference))


def known_jobs(deployment: Deployment) -> list[JobReport]:
    """Return the jobs that the ledger knows, newest first."""
    deployment.require_broker()
    reports = []
    for job_id in reversed(deployment.ledger.jobs()):
        try:
            reports.append(report_of(deployment.ledger.status(job_id), "ledger"))
        except JobUnknown:  # it expired since the list was read
            continue
    return reports


def cancel(deployment: Deployment, manifest: Manifest) -> int:
    """Stop a job for good; return how many chunks will not be scored.

    The marker on the object store comes first: with it a lost ledger is restored as cancelled.

    Raises:
        UsageError: The job has ended.
    """
    storage, ledger, job_id = deployment.storage, deployment.ledger, manifest.job_id
    resume(storage, ledger, manifest)
    status = ledger.status(job_id)
    if not status.pending and status.state is not JobState.CANCELLED:
        raise UsageError(f"job {job_id} has no pending chunk, there is nothing to cancel")
    marker = Cancellation(job_id=job_id, cancelled_at=datetime.now(UTC))
    storage.create(layout.cancelled(manifest.spec.output), marker.model_dump_json().encode())
    if status.state is not JobState.CANCELLED:
        ledger.cancel(job_id)
        deployment.reconciler.run_once(only=job_id)
    return ledger.status(job_id).chunks[ChunkState.CANCELLED]


def _output(deployment: Deployment, reference: str) -> str:
    """Return the output URI that a reference stands for."""
    as_output = canonical(reference)
    if "/" in reference:
        deployment.require_storage(as_output)
        if deployment.storage.exists(layout.manifest(as_output)):
            return as_output
        raise JobUnknown(why_no_job(deployment.storage, as_output))
    try:
        deployment.require_broker()
        known = deployment.ledger.status(reference).output
    except (JobUnknown, BrokerUnavailable):
        # A folder of that name in the working directory.
        if deployment.storage.exists(layout.manifest(as_output)):
            return as_output
        raise
    deployment.require_storage(known)
    return known
