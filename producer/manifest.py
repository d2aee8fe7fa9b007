"""Creates a job: its chunk table and its manifest, once."""

import secrets
from datetime import UTC, datetime

from producer.corpus import find_files
from producer.footers import Progress, read_footers
from producer.plan import make_plan
from schemas import __version__, layout
from schemas.chunks import sha256_of
from schemas.errors import ManifestMissing, OutputTaken, UsageError
from schemas.job import InputFile, JobSpec, Manifest, ModelPin, spec_digest
from schemas.manifest import read_manifest
from schemas.storage import Storage, canonical


def create_job(
    storage: Storage,
    spec: JobSpec,
    model: ModelPin,
    *,
    job_id: str | None = None,
    progress: Progress = lambda _done, _all: None,
) -> Manifest:
    """Plan a job and create its manifest; the same job again is returned as it is.

    Raises:
        OutputTaken: The output holds another job, or results without one.
        UsageError: The output lies inside an input folder.
    """
    _require_apart(spec)
    existing = _existing(storage, spec.output)
    if existing is None:
        manifest = _manifest(storage, spec, model, job_id or new_job_id(), progress)
        if storage.create(layout.manifest(spec.output), _body(manifest)):
            return manifest
        existing = read_manifest(storage, spec.output)
    return _same_job(existing, spec, model, job_id)


def new_job_id() -> str:
    """Return an id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _existing(storage: Storage, output: str) -> Manifest | None:
    try:
        return read_manifest(storage, output)
    except ManifestMissing as error:
        if storage.exists(layout.manifest(output)):
            raise
        foreign = next(iter(storage.list_objects(output)), None)
        if foreign is not None:
            raise OutputTaken(
                f"{output} is not empty ({foreign.uri}) and holds no job; choose another output"
            ) from error
        return None


def _same_job(existing: Manifest, spec: JobSpec, model: ModelPin, job_id: str | None) -> Manifest:
    same_spec = spec_digest(existing.spec, existing.model.digest) == spec_digest(spec, model.digest)
    if same_spec and job_id in (None, existing.job_id):
        return existing
    raise OutputTaken(
        f"{spec.output} already holds job {existing.job_id} with "
        f"{'the same' if same_spec else 'another'} specification; choose another output, or go on "
        f"with `bulkscore resume {spec.output}`"
    )


def _require_apart(spec: JobSpec) -> None:
    output = canonical(spec.output)
    for given in spec.inputs:
        folder = canonical(given)
        if output == folder or output.startswith(f"{folder}/"):
            raise UsageError(
                f"output {spec.output} lies inside input {given}: the next job would read results"
            )


def _manifest(
    storage: Storage, spec: JobSpec, model: ModelPin, job_id: str, progress: Progress
) -> Manifest:
    files = find_files(storage, spec.inputs)
    footers, skipped = read_footers(
        storage,
        files,
        text_column=spec.text_column,
        id_columns=spec.id_columns,
        skip_bad_files=spec.skip_bad_files,
        progress=progress,
    )
    plan = make_plan(footers, spec.chunk_rows)
    table = plan.chunks.to_bytes()
    digest = sha256_of(table)
    storage.create(layout.chunk_table(spec.output, digest), table)
    return Manifest(
        job_id=job_id,
        created_at=datetime.now(UTC),
        bulkscore_version=__version__,
        spec=spec,
        model=model,
        files=tuple(
            InputFile(
                uri=f.file.uri,
                size=f.file.size,
                etag=f.file.etag,
                rows=int(f.group_rows.sum()),
                row_groups=len(f.group_rows),
            )
            for f in footers
        ),
        skipped=tuple(skipped),
        rows=plan.rows,
        chunks=len(plan.chunks),
        text_bytes=plan.text_bytes,
        chunk_table_sha256=digest,
    )


def _body(manifest: Manifest) -> bytes:
    return manifest.model_dump_json(indent=2).encode()
