"""Creates a job: its chunk table and its manifest, once."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from producer.budgets import follow_spec
from producer.footers import Footer, Progress
from producer.inventory import Inventory, take_inventory
from producer.output import require_apart, require_empty
from producer.plan import make_plan
from schemas import __version__, layout
from schemas.chunks import sha256_of
from schemas.errors import ManifestMissing, OutputTaken, UsageError
from schemas.job import (
    NOT_IDENTITY,
    InputFile,
    JobId,
    JobSpec,
    Manifest,
    ModelPin,
    models_digest,
    spec_digest,
)
from schemas.manifest import read_manifest
from schemas.storage import Storage


def create_job(
    storage: Storage,
    spec: JobSpec,
    *models: ModelPin,
    job_id: str | None = None,
    inventory: Inventory | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Manifest:
    """Plan a job and create its manifest; the same job again is returned as it is.

    The same job has the same spec and models, and the same id if one is given; only its error
    budgets may be others, and count for it from now on. Of several submitters at once the first
    that creates the manifest has the output; the chunk table is named by its content, so that none
    touches another's.

    Args:
        storage: Where corpus and output lie.
        spec: What the job shall do.
        models: The model versions, pinned, in the order of the spec.
        job_id: Its name; made up when None.
        inventory: What of the inputs is to be scored; all that they give when None.
        progress: Told how many of all footers are read.

    Raises:
        OutputTaken: The output holds another job, or something else.
        UsageError: Output and input overlap, or the job id is malformed; what
            `take_inventory` raises as well.
    """
    if job_id is not None:
        _require_valid(job_id)
    require_apart(spec)
    existing = find_job(storage, spec.output)
    if existing is None:
        inventory = inventory or take_inventory(storage, spec, progress)
        return _create(storage, spec, models, job_id, inventory)
    same = same_job(existing, spec, models, job_id)
    follow_spec(storage, same, spec)
    return same


def find_job(storage: Storage, output: str) -> Manifest | None:
    """Return the manifest under `output`, or None when there is nothing at all.

    Raises:
        OutputTaken: There are objects that no job of ours accounts for.
        ManifestMissing: There is a manifest, but it is damaged.
    """
    found = manifest_if_there(storage, output)
    if found is None:
        try:
            require_empty(storage, output)
        except OutputTaken:
            # Another submitter may have been faster: then these are the objects of its job.
            found = manifest_if_there(storage, output)
            if found is None:
                raise
    return found


def same_job(
    existing: Manifest, spec: JobSpec, models: Sequence[ModelPin], job_id: str | None
) -> Manifest:
    """Return the job that is there if it is the one asked for.

    Raises:
        OutputTaken: It differs in something.
    """
    differs = _differences(existing, spec, models)
    if job_id not in (None, existing.job_id):
        differs.append(f"job id ({existing.job_id} there, {job_id} asked for)")
    if not differs:
        return existing
    raise OutputTaken(
        f"{spec.output} already holds job {existing.job_id} of {existing.created_at:%Y-%m-%d}, "
        f"which differs in {', '.join(differs)}. Choose another --output, or go on with that job: "
        f"bulkscore resume {spec.output}"
    )


def manifest_if_there(storage: Storage, output: str) -> Manifest | None:
    """Return the manifest under `output`, or None when there is none.

    Raises:
        ManifestMissing: There is one, but it is damaged.
    """
    try:
        return read_manifest(storage, output)
    except ManifestMissing:
        if not storage.exists(layout.manifest(output)):
            return None
    return read_manifest(storage, output)  # created a moment ago, or damaged


def new_job_id() -> str:
    """Return an id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _require_valid(job_id: str) -> None:
    try:
        TypeAdapter(JobId).validate_python(job_id)
    except ValidationError:
        raise UsageError(
            f"job id {job_id!r}: use up to 63 lower-case letters, digits, dots, dashes and "
            "underscores, a letter or digit first"
        ) from None


def _create(
    storage: Storage,
    spec: JobSpec,
    models: Sequence[ModelPin],
    job_id: str | None,
    inventory: Inventory,
) -> Manifest:
    manifest, table = _planned(spec, models, job_id or new_job_id(), inventory)
    place = layout.chunk_table(spec.output, manifest.chunk_table_sha256)
    storage.create(place, table)
    body = manifest.model_dump_json(indent=2).encode()
    if storage.create(layout.manifest(spec.output), body):
        return manifest
    # Also when a request was sent twice and met its own first try: then this is our manifest.
    winner = read_manifest(storage, spec.output)
    if winner.chunk_table_sha256 != manifest.chunk_table_sha256:
        storage.delete(place)
    return same_job(winner, spec, models, job_id)


def _planned(
    spec: JobSpec, models: Sequence[ModelPin], job_id: str, inventory: Inventory
) -> tuple[Manifest, bytes]:
    """Return the manifest and the chunk table that belongs to it, as they are stored."""
    plan = make_plan(inventory.footers, spec.chunk_rows)
    table = plan.chunks.to_bytes()
    manifest = Manifest(
        job_id=job_id,
        created_at=datetime.now(UTC),
        bulkscore_version=__version__,
        spec=spec,
        model=models[0],
        further_models=tuple(models[1:]),
        files=tuple(_input_file(footer) for footer in inventory.footers),
        skipped=tuple(inventory.skipped),
        rows=plan.rows,
        chunks=len(plan.chunks),
        text_bytes=plan.text_bytes,
        chunk_table_sha256=sha256_of(table),
    )
    if int(plan.chunks.column("rows").sum()) != sum(file.rows for file in manifest.files):
        raise AssertionError("bug: the chunks do not hold every row of the files once")
    return manifest, table


def _input_file(footer: Footer) -> InputFile:
    return InputFile(
        uri=footer.file.uri,
        size=footer.file.size,
        etag=footer.file.etag,
        rows=int(footer.group_rows.sum()),
        row_groups=len(footer.group_rows),
    )


def _differences(existing: Manifest, spec: JobSpec, models: Sequence[ModelPin]) -> list[str]:
    digest = models_digest(models)
    if spec_digest(existing.spec, existing.model_digest) == spec_digest(spec, digest):
        return []
    left_out = ("model", "further_models", *NOT_IDENTITY)
    fields = [name for name in JobSpec.model_fields if name not in left_out]
    differs = [name for name in fields if getattr(existing.spec, name) != getattr(spec, name)]
    if existing.model_digest != digest:
        differs.append("model")
    return [name.replace("_", "-") for name in differs]
