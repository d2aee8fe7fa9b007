"""Giving a job another error budget: a record on the object store, which counts until the next."""

from datetime import UTC, datetime

from schemas import layout
from schemas.generation import Generation, read_generations
from schemas.job import BUDGETS, ErrorBudget, JobSpec, Manifest
from schemas.storage import Storage


def change_budgets(
    storage: Storage,
    manifest: Manifest,
    *,
    max_row_errors: ErrorBudget | None = None,
    max_dead_chunks: ErrorBudget | None = None,
) -> Generation | None:
    """Write down other error budgets for a job; None leaves one as it is.

    The ledger hears of it from `resume`.

    Returns:
        The record, or None when nothing is asked for.
    """
    if max_row_errors is None and max_dead_chunks is None:
        return None
    while True:
        found = read_generations(storage, manifest.spec.output)
        record = Generation(
            job_id=manifest.job_id,
            number=found[-1].number + 1 if found else 1,
            created_at=datetime.now(UTC),
            chunks=(),
            max_row_errors=max_row_errors,
            max_dead_chunks=max_dead_chunks,
        )
        uri = layout.generation(manifest.spec.output, record.number)
        if storage.create(uri, record.model_dump_json().encode()):
            return record
        # Somebody else changed the job at the same time: take the next number.


def follow_spec(storage: Storage, manifest: Manifest, spec: JobSpec) -> None:
    """Give a job the budgets of a command that names it again with others than it was made with.

    The same command once more changes nothing, also after an operator has given the job others.
    """
    known = [manifest.spec, *read_generations(storage, manifest.spec.output)]
    asked = {}
    for name in BUDGETS:
        budget = getattr(spec, name)
        if budget is not None and budget not in [getattr(record, name) for record in known]:
            asked[name] = budget
    change_budgets(storage, manifest, **asked)
