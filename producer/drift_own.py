"""The reference for drift that a job is given when it is submitted, and its drift at the end."""

from collections.abc import Sequence

from producer.deployment import Deployment
from producer.drift import drift_between
from producer.drift_record import record_drift
from producer.jobs import find_manifest
from schemas.errors import UsageError
from schemas.finalize import read_summary
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.manifest import read_manifest
from schemas.storage import Storage
from schemas.summary import Summary

PREVIOUS = "previous"


def with_reference(
    deployment: Deployment, spec: JobSpec, models: Sequence[ModelPin], *, incremental: bool
) -> JobSpec:
    """Return the spec with the output of the job that its reference, an id or output, names.

    `previous` stays as it is: it is known once the collection has been read.

    Raises:
        UsageError: There is no such job, or drift against it could not be told.
    """
    reference = spec.drift_reference
    if reference is None:
        return spec
    if reference == PREVIOUS:
        if not incremental:
            raise UsageError("--reference previous goes with --incremental; else name a job")
        return spec
    found = find_manifest(deployment, reference)
    if found.spec.output == spec.output:
        raise UsageError(f"--reference {reference}: a job cannot be its own reference")
    before, now = found.model, models[0]
    if (before.problem_type == "regression") != (now.problem_type == "regression"):
        raise UsageError(
            f"--reference {reference}: {before.ref} is a model for {before.problem_type}, "
            f"{now.ref} one for {now.problem_type}: drift between them cannot be told"
        )
    return spec.model_copy(update={"drift_reference": found.spec.output})


def record_own_drift(storage: Storage, manifest: Manifest, summary: Summary) -> Summary:
    """Enter the drift of a job that has ended against its own reference, unless it is there.

    Several may do so at once: the first one's entry stays.

    Args:
        storage: Where both outputs lie.
        manifest: The job.
        summary: As it was read last.

    Returns:
        The summary as it is now.

    Raises:
        UsageError: A job has no result, or the summary was written anew at this very moment.
        ManifestMissing: The reference is gone.
        InputCorrupt: A result cannot be read.
    """
    reference = manifest.spec.drift_reference
    if reference is None or summary.drift:
        return summary
    found = drift_between(storage, read_manifest(storage, reference), manifest)
    try:
        return record_drift(storage, manifest, found)
    except UsageError:
        now = read_summary(storage, manifest.spec.output)
        if now.drift:
            return now
        raise
