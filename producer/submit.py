"""Submitting a job: check who must answer, pin the model, create the job, put it on the queue."""

from dataclasses import dataclass

from producer.deployment import Deployment
from producer.footers import Progress
from producer.manifest import create_job
from schemas.errors import JobUnknown, OutputTaken, UsageError
from schemas.job import JobSpec, Manifest
from schemas.model_files import choose_max_length, pin_model
from schemas.resume import Resumed, resume


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The job, and how its chunks stood when it was submitted."""

    manifest: Manifest
    resumed: Resumed


def submit(
    deployment: Deployment,
    spec: JobSpec,
    *,
    job_id: str | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Submission:
    """Create the job of this spec, or find it when it exists, and see to its messages.

    Args:
        deployment: Where Redis and the object store are.
        spec: What the job shall do.
        job_id: Its name; made up when None.
        progress: Told how many of all footers are read.

    Raises:
        BrokerUnavailable: Redis does not answer or refuses the login.
        StorageUnavailable: The object store does not answer.
        OutputTaken: The output or the job id belongs to another job.
        PermanentError: Corpus or model cannot be used.
    """
    deployment.require_broker()
    deployment.require_storage(*spec.inputs, spec.output, spec.model)
    storage, ledger = deployment.storage, deployment.ledger
    if job_id is not None:
        _require_free(deployment, job_id, spec.output)
    model = pin_model(storage, spec.model)
    choose_max_length(model, spec.max_length)
    manifest = create_job(storage, spec, model, job_id=job_id, progress=progress)
    resumed = resume(storage, ledger, manifest)
    deployment.reconciler.run_once(only=manifest.job_id)
    return Submission(manifest=manifest, resumed=resumed)


def _require_free(deployment: Deployment, job_id: str, output: str) -> None:
    """Raise before anything is created when the name is malformed or another job's."""
    from pydantic import TypeAdapter, ValidationError

    from schemas.job import JobId

    try:
        TypeAdapter(JobId).validate_python(job_id)
    except ValidationError:
        raise UsageError(
            f"job id {job_id!r}: use up to 63 lower-case letters, digits, dots, dashes and "
            "underscores, a letter or digit first"
        ) from None
    try:
        known = deployment.ledger.status(job_id).output
    except JobUnknown:
        return
    if known != output:
        raise OutputTaken(f"job {job_id} exists with the output {known}; choose another job id")
