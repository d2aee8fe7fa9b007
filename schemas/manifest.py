"""Reading back what a job is: its manifest and the chunk table that belongs to it."""

from pydantic import ValidationError

from schemas import layout
from schemas.chunks import ChunkTable, sha256_of
from schemas.collection import why_no_job
from schemas.errors import InputCorrupt, InputMissing, ManifestMissing
from schemas.generation import read_generations
from schemas.job import Manifest
from schemas.locations import canonical
from schemas.record import refusal
from schemas.storage import Storage

# A million input files come to some 200 MB.
MAX_MANIFEST_BYTES = 512 * 1024 * 1024


def read_manifest(storage: Storage, output: str) -> Manifest:
    """Return the manifest of the job under `output`.

    A result may have been moved or copied as a whole: `spec.output` is where it lies now. The
    models are those that count now, also where others replaced what the job was submitted with.

    Raises:
        ManifestMissing: There is none, or it is damaged.
        VersionUnknown: A later release wrote it.
    """
    uri = layout.manifest(output)
    try:
        manifest = Manifest.model_validate_json(storage.read(uri, at_most=MAX_MANIFEST_BYTES))
    except InputMissing as error:
        raise ManifestMissing(why_no_job(storage, output)) from error
    except InputCorrupt as error:
        raise ManifestMissing(str(error)) from error
    except ValidationError as error:
        raise refusal(Manifest, error, uri) from None
    here = manifest.spec.model_copy(update={"output": canonical(output)})
    models = manifest.models
    for change in read_generations(storage, output):
        models = change.models or models
    now = {"spec": here, "model": models[0], "further_models": models[1:]}
    return manifest.model_copy(update=now)


def read_chunks(storage: Storage, manifest: Manifest) -> ChunkTable:
    """Return the chunk table that the manifest names by its digest.

    Raises:
        ManifestMissing: It is gone or is not the one the manifest was written with.
    """
    uri = layout.chunk_table(manifest.spec.output, manifest.chunk_table_sha256)
    try:
        data = storage.read(uri)
    except InputMissing as error:
        raise ManifestMissing(f"{uri}, the chunk table of the job, is gone") from error
    if sha256_of(data) != manifest.chunk_table_sha256:
        raise ManifestMissing(f"{uri} is not the chunk table that the manifest was written with")
    return ChunkTable.from_bytes(data)
