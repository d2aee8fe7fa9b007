"""Jobs this process works on: manifest, chunk table and overrides, read once and kept."""

from collections import OrderedDict
from dataclasses import dataclass

from schemas.chunks import ChunkTable
from schemas.generation import Generation, generation_of_chunks, read_generations
from schemas.job import Manifest
from schemas.manifest import read_chunks, read_manifest
from schemas.storage import Storage

# A worker meets a few jobs at a time; a table of a million chunks takes 24 MB.
JOBS_IN_MEMORY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A job as its objects describe it, up to a generation."""

    manifest: Manifest
    chunks: ChunkTable
    generation: int
    overrides: dict[int, Generation]

    def token_budget(self, chunk: int) -> int | None:
        """Return the token budget asked for this chunk, if any."""
        override = self.overrides.get(chunk)
        if override is not None and override.token_budget is not None:
            return override.token_budget
        return self.manifest.spec.token_budget


class JobCache:
    """Keeps the jobs used last."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._jobs: OrderedDict[str, OpenJob] = OrderedDict()

    def get(self, job_id: str, output: str, generation: int) -> OpenJob:
        """Return a job, read anew when it is unknown or was reprocessed since.

        Raises:
            ManifestMissing: Its manifest or chunk table is gone or damaged.
        """
        job = self._jobs.get(job_id)
        if job is None or job.generation < generation:
            job = self._read(output, generation)
            self._jobs[job_id] = job
        self._jobs.move_to_end(job_id)
        while len(self._jobs) > JOBS_IN_MEMORY:
            self._jobs.popitem(last=False)
        return job

    def _read(self, output: str, generation: int) -> OpenJob:
        manifest = read_manifest(self._storage, output)
        records = read_generations(self._storage, output) if generation else []
        return OpenJob(
            manifest=manifest,
            chunks=read_chunks(self._storage, manifest),
            generation=generation,
            overrides=generation_of_chunks(records),
        )
