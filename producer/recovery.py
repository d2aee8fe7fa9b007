"""Taking a job up again from its output alone."""

from collections.abc import Sequence

from producer.budgets import change_budgets
from producer.deployment import Deployment
from producer.drift_janitor import DriftJanitor
from schemas import layout
from schemas.errors import UsageError
from schemas.job import ErrorBudget, Manifest
from schemas.locations import canonical
from schemas.manifest import read_manifest
from schemas.reconciler import Pass
from schemas.resume import Resumed, bring_back, resume


def take_up(
    deployment: Deployment,
    manifest: Manifest,
    *,
    uncancel: bool = False,
    max_row_errors: ErrorBudget | None = None,
    max_dead_chunks: ErrorBudget | None = None,
) -> Resumed:
    """Bring the ledger in step with the object store and put pending chunks on the queue.

    Args:
        deployment: Where Redis and the object store are.
        manifest: The job.
        uncancel: Let a cancelled job go on.
        max_row_errors: Counts for the job from now on.
        max_dead_chunks: Likewise.

    Raises:
        UsageError: A job that was not cancelled shall be uncancelled.
    """
    storage, output = deployment.storage, manifest.spec.output
    if uncancel:
        if not storage.exists(layout.cancelled(output)):
            raise UsageError(f"job {manifest.job_id} is not cancelled")
        storage.delete(layout.summary(output))
        storage.delete(layout.cancelled(output))
    change_budgets(
        storage, manifest, max_row_errors=max_row_errors, max_dead_chunks=max_dead_chunks
    )
    resumed = resume(storage, deployment.ledger, manifest)
    deployment.reconciler.run_once(only=manifest.job_id)
    return resumed


def reconcile(
    deployment: Deployment, job_id: str | None, *, outputs: Sequence[str] = ()
) -> list[Pass]:
    """Make one pass over all jobs that have not ended, or over one, and tell what drift is due.

    Args:
        deployment: Where Redis and the object store are.
        job_id: Only this job.
        outputs: The jobs there are entered again first if Redis has lost them before they ended.

    Raises:
        JobUnknown: The ledger does not know that job.
        ManifestMissing: There is no job under one of the outputs.
    """
    for output in outputs:
        manifest = read_manifest(deployment.storage, canonical(output))
        bring_back(deployment.storage, deployment.ledger, manifest)
    if job_id is not None:
        deployment.ledger.status(job_id)
    passes = deployment.reconciler.run_once(only=job_id)
    DriftJanitor(deployment.ledger, deployment.storage).look(only=job_id)
    return passes
