"""Creates the job of `--incremental`: what is new to a collection, as one more job in it.

The output is a collection: each job has its own folder `job=<id>` in it, so that readers of the
collection see the rows of all jobs and which job made them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from producer.coverage import Coverage, FileState, cover, rows_key
from producer.drift_own import PREVIOUS
from producer.footers import Progress
from producer.inventory import Inventory, all_bad, list_corpus, read_corpus
from producer.manifest import create_job
from producer.occasion import DIGEST_CHARACTERS
from producer.output import require_apart, require_collection
from schemas import layout
from schemas.job import JobSpec, Manifest, ModelPin, SkippedFile, models_digest, spec_digest
from schemas.manifest import read_manifest
from schemas.objects import ObjectStat
from schemas.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """What a collection lacked of the files that were asked for.

    Attributes:
        files: Files that are to be scored now.
        new_files: Files that no job held.
        changed_files: URIs of files that the last job held with another size or ETag.
        left_files: Files that the last job ended without scoring.
        scored_files: Files passed over because all their rows are there.
        files_under_way: Files passed over because a job that has not ended holds them.
        skipped_files: What `--skip-bad-files` left out.
    """

    files: int
    new_files: int
    changed_files: tuple[str, ...]
    left_files: int
    scored_files: int
    files_under_way: int
    skipped_files: tuple[SkippedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What came of asking for a job.

    Attributes:
        manifest: The job. When nothing was new, the last one that covers what was asked for.
        increment: What was new, for `--incremental`; None when the job was there by its name.
        is_open: The job was created now, or has not ended, or was asked for by its name.
        under_way: The other jobs that hold files asked for and have not ended.
    """

    manifest: Manifest
    increment: Increment | None = None
    is_open: bool = True
    under_way: tuple[Manifest, ...] = ()


def create_increment(
    storage: Storage,
    spec: JobSpec,
    models: Sequence[ModelPin],
    *,
    job_id: str | None,
    progress: Progress = lambda _done, _all: None,
) -> Created:
    """Create the job of what is new to the collection at `spec.output`, if anything is.

    A job that is there by its name is returned as it is, whatever is new by now. Without a name
    the job's id is made of its place in the row of jobs, the spec and the new files, so that of
    submitters at once that see the same, only one creates it.

    Raises:
        OutputTaken: The output is no collection, or the name is that of another job.
        UsageError: As `create_job`.
    """
    collection = spec.output
    require_apart(spec)
    require_collection(storage, collection)
    if job_id is not None:
        named = _in_collection(spec, job_id)
        if storage.exists(layout.manifest(named.output)):
            return Created(manifest=create_job(storage, named, *models, job_id=job_id))
    listing = list_corpus(storage, spec)
    coverage = cover(storage, collection, rows_key(spec, models), listing.files)
    found = read_corpus(storage, spec, replace(listing, files=coverage.new), progress)
    increment = _increment(coverage, found)
    under_way = tuple(read_manifest(storage, output) for output in coverage.jobs_under_way)
    if found.footers:
        files = [footer.file for footer in found.footers]
        job_id = job_id or _job_id(spec, models, coverage.jobs, files)
        job = _in_collection(spec, job_id)
        if spec.drift_reference == PREVIOUS:
            job = job.model_copy(update={"drift_reference": coverage.last})
        manifest = create_job(storage, job, *models, job_id=job_id, inventory=found)
        return Created(manifest=manifest, increment=increment, under_way=under_way)
    if not coverage.holders:
        raise all_bad(listing, found)
    if under_way:
        return Created(manifest=under_way[-1], increment=increment, under_way=under_way[:-1])
    last, _ = coverage.holders[-1]
    return Created(manifest=read_manifest(storage, last), increment=increment, is_open=False)


def _in_collection(spec: JobSpec, job_id: str) -> JobSpec:
    return spec.model_copy(update={"output": layout.job_folder(spec.output, job_id)})


def _job_id(
    spec: JobSpec, models: Sequence[ModelPin], jobs: int, files: Sequence[ObjectStat]
) -> str:
    """Return an id that sorts by the order of the jobs and is the same for the same files."""
    digest = hashlib.sha256(spec_digest(spec, models_digest(models)).encode())
    for file in files:
        digest.update(f"{file.uri}\0{file.size}\0{file.etag}\n".encode())
    return f"{jobs + 1:06}-{digest.hexdigest()[:DIGEST_CHARACTERS]}"


def _increment(coverage: Coverage, found: Inventory) -> Increment:
    return Increment(
        files=len(found.footers),
        new_files=len(coverage.in_state(FileState.NEW)),
        changed_files=tuple(file.uri for file in coverage.in_state(FileState.CHANGED)),
        left_files=len(coverage.in_state(FileState.LEFT)),
        scored_files=len(coverage.in_state(FileState.SCORED)),
        files_under_way=len(coverage.in_state(FileState.UNDER_WAY)),
        skipped_files=tuple(found.skipped),
    )
