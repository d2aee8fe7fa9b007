"""Which files of a corpus the jobs of a collection have scored, or are scoring, already.

The manifests, results and markers under the collection are all there is to know: nothing else is
kept. Of several jobs that hold a file, the one created last decides, as for whoever reads the
rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from producer.ahead import map_ahead
from producer.manifest import manifest_if_there
from schemas import layout
from schemas.collection import job_folders
from schemas.job import InputFile, JobSpec, Manifest, ModelPin, models_digest
from schemas.manifest import read_chunks
from schemas.model_files import choose_max_length
from schemas.objects import ObjectStat
from schemas.storage import Storage
from schemas.survey import survey

CONCURRENT_MANIFESTS = 16
# Fields of a spec that change how, when or where a job is done, never what a row of its result
# holds. A field that is not named here makes other rows, and so all files are scored anew.
SAME_ROWS = frozenset(
    {
        *("inputs", "output", "model", "further_models", "canary"),
        *("chunk_rows", "token_budget", "priority"),
        *("skip_bad_files", "max_row_errors", "max_dead_chunks", "drift_reference"),
    }
)

RowsKey = tuple[object, ...]


class FileState(Enum):
    """What became of a file in the last job that holds it, or NEW when none does."""

    NEW = auto()
    CHANGED = auto()
    LEFT = auto()
    UNDER_WAY = auto()
    SCORED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFiles:
    """The files of one job of a collection, each with what became of it."""

    output: str
    created_at: datetime
    files: tuple[InputFile, ...]
    states: Sequence[FileState]


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A job that holds a file; the one created last is the greatest."""

    created_at: datetime
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What the jobs of a collection mean for the files that are asked for.

    Attributes:
        files: What is asked for, in order.
        states: The state of each: NEW, CHANGED (the last job held it with another size or ETag)
            and LEFT (the last job ended without scoring all of it) are to be scored.
        jobs: How many jobs the collection has, those that make other rows included.
        last: Output of the job that was created last, None in an empty collection.
        holders: The jobs that cover files, with the state of these, in the order of creation.
    """

    files: Sequence[ObjectStat]
    states: Sequence[FileState]
    jobs: int
    last: str | None
    holders: Sequence[tuple[str, FileState]]

    def in_state(self, *states: FileState) -> list[ObjectStat]:
        """Return the files in one of these states, in order."""
        return [f for f, state in zip(self.files, self.states, strict=True) if state in states]

    @property
    def new(self) -> list[ObjectStat]:
        """What is to be scored."""
        return self.in_state(FileState.NEW, FileState.CHANGED, FileState.LEFT)

    @property
    def jobs_under_way(self) -> list[str]:
        """Outputs of the jobs that hold files and have not ended, in the order of creation."""
        return [output for output, state in self.holders if state is FileState.UNDER_WAY]


def rows_key(spec: JobSpec, models: Sequence[ModelPin]) -> RowsKey:
    """Return what two jobs have in common when they make the same rows of the same file."""
    if spec.canary is not None:  # the columns of the first model are the same without it
        models = models[:1]
    lengths = tuple(choose_max_length(model, spec.max_length) for model in models)
    names = sorted(JobSpec.model_fields.keys() - SAME_ROWS - {"max_length"})
    return models_digest(models), lengths, *(getattr(spec, name) for name in names)


def cover(storage: Storage, collection: str, key: RowsKey, files: Sequence[ObjectStat]) -> Coverage:
    """Return what is new among `files`, in their order.

    Args:
        storage: Where the collection lies.
        collection: URI of the folder of jobs.
        key: The rows that are wanted; jobs that make other rows cover nothing.
        files: What is asked for.

    Raises:
        ManifestMissing: The manifest or chunk table of a job is damaged.
    """
    asked = {file.uri: (file.size, file.etag) for file in files}
    last: dict[str, tuple[Holder, FileState]] = {}
    made: list[Holder] = []
    for job in _jobs(storage, collection, key):
        holder = Holder(job.created_at, job.output)
        made.append(holder)
        for file, state in zip(job.files, job.states, strict=True):
            if file.uri in asked and (file.uri not in last or last[file.uri][0] < holder):
                same = asked[file.uri] == (file.size, file.etag)
                last[file.uri] = holder, state if same else FileState.CHANGED
    states = [last[file.uri][1] if file.uri in last else FileState.NEW for file in files]
    covering = {
        held for held in last.values() if held[1] in (FileState.SCORED, FileState.UNDER_WAY)
    }
    ordered = sorted(covering, key=lambda held: held[0])
    return Coverage(
        files=files,
        states=states,
        jobs=len(made),
        last=max(made).output if made else None,
        holders=[(holder.output, state) for holder, state in ordered],
    )


def _jobs(storage: Storage, collection: str, key: RowsKey) -> Iterator[JobFiles]:
    """Yield the jobs, read many at a time; those that make other rows than `key` hold nothing."""

    def read(output: str) -> JobFiles | None:
        manifest = manifest_if_there(storage, output)
        if manifest is None:
            return None
        covers = rows_key(manifest.spec, manifest.models) == key
        return JobFiles(
            output=output,
            created_at=manifest.created_at,
            files=manifest.files if covers else (),
            states=_states(storage, manifest) if covers else (),
        )

    folders = job_folders(storage, collection)
    found = map_ahead(read, folders, threads=CONCURRENT_MANIFESTS, name="manifests")
    yield from (job for job in found if job is not None)


def _states(storage: Storage, manifest: Manifest) -> Sequence[FileState]:
    """Return the state of each file of a job, as the object store has it."""
    output = manifest.spec.output
    if storage.exists(layout.success_marker(output)):
        return [FileState.SCORED] * len(manifest.files)
    # Looked for before the results: a job that ends meanwhile has them all.
    ended = storage.exists(layout.summary(output)) or storage.exists(layout.cancelled(output))
    if not ended:
        return [FileState.UNDER_WAY] * len(manifest.files)
    missing = set(range(manifest.chunks)) - survey(storage, manifest).results
    files = read_chunks(storage, manifest).column("file")
    left = {int(files[chunk]) for chunk in missing}
    return [
        FileState.LEFT if number in left else FileState.SCORED
        for number in range(len(manifest.files))
    ]
