"""Submitting a job: check who must answer, pin the model, create the job, put it on the queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from producer.deployment import Deployment
from producer.drift_own import with_reference
from producer.footers import Progress
from producer.incremental import Created, Increment, create_increment
from producer.manifest import create_job
from producer.occasion import Occasion
from schemas import layout
from schemas.errors import JobUnknown, OutputTaken, UsageError
from schemas.job import JobSpec, Manifest, ModelPin, SkippedFile, models_digest
from schemas.model_files import choose_max_length, pin_model, require_precision
from schemas.resume import Resumed, resume
from schemas.settings import RegistrySettings, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The job, and how its chunks stood when it was submitted; None when nothing was submitted."""

    manifest: Manifest
    resumed: Resumed | None
    increment: Increment | None = None

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What `--skip-bad-files` left out."""
        return self.increment.skipped_files if self.increment else self.manifest.skipped


def submit(
    deployment: Deployment,
    spec: JobSpec,
    *,
    occasion: Occasion,
    progress: Progress = lambda _done, _all: None,
) -> Submission:
    """Create the job of this spec, or find it when it exists, and see to its messages.

    With `--incremental`, jobs that hold files asked for and have not ended are seen to as well, so
    that one whose submitter died before it was queued is not waited for in vain.

    Args:
        deployment: Where Redis and the object store are.
        spec: What the job shall do.
        occasion: What decides its name.
        progress: Told how many of all footers are read.

    Raises:
        BrokerUnavailable: Redis does not answer or refuses the login.
        StorageUnavailable: The object store does not answer.
        OutputTaken: The output or the job id belongs to another job.
        UsageError: The options make no sense.
        PermanentError: Corpus or model cannot be used.
    """
    deployment.require_broker()
    spec = occasion.dated(spec)
    models = pin(deployment, spec)
    spec = with_reference(deployment, spec, models, incremental=occasion.incremental)
    job_id = occasion.job_id(spec, models_digest(models))
    if job_id is not None:
        output = layout.job_folder(spec.output, job_id) if occasion.incremental else spec.output
        _require_free(deployment, job_id, output)
    created = create(deployment, spec, models, occasion=occasion, progress=progress)
    for manifest in created.under_way:
        _enter(deployment, manifest)
    return Submission(
        manifest=created.manifest,
        resumed=_enter(deployment, created.manifest) if created.is_open else None,
        increment=created.increment,
    )


def pin(deployment: Deployment, spec: JobSpec) -> tuple[ModelPin, ...]:
    """Return the models of a job as they are now, once all that the job needs answers.

    Raises:
        StorageUnavailable: The object store does not answer.
        UsageError: The model cannot read texts as long as is asked for, or not be computed in the
            number format.
        PermanentError: The model cannot be used.
    """
    deployment.require_storage(*spec.inputs, spec.output, *spec.models)
    models_uri = load(RegistrySettings).models_uri
    models = tuple(pin_model(deployment.storage, ref, models_uri) for ref in spec.models)
    for model in models:
        choose_max_length(model, spec.max_length)
        require_precision(model, spec.dtype)
    return models


def create(
    deployment: Deployment,
    spec: JobSpec,
    models: Sequence[ModelPin],
    *,
    occasion: Occasion,
    progress: Progress,
) -> Created:
    """Create the job, or find it when it exists. Needs no broker.

    Args:
        deployment: Where the object store is.
        spec: What the job shall do, its dates filled in.
        models: The pinned models.
        occasion: What decides its name.
        progress: Told how many of all footers are read.

    Raises:
        OutputTaken: The output belongs to another job.
        UsageError: The options make no sense.
        PermanentError: The corpus cannot be used.
    """
    storage, job_id = deployment.storage, occasion.job_id(spec, models_digest(models))
    if occasion.incremental:
        return create_increment(storage, spec, models, job_id=job_id, progress=progress)
    return Created(manifest=create_job(storage, spec, *models, job_id=job_id, progress=progress))


def _enter(deployment: Deployment, manifest: Manifest) -> Resumed:
    """Bring the ledger in step with a job that goes on and put its chunks on the queue."""
    resumed = resume(deployment.storage, deployment.ledger, manifest)
    deployment.reconciler.run_once(only=manifest.job_id)
    return resumed


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
