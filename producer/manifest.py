"""Planning a job and writing down, once, what it is."""

from collections.abc import Callable
from dataclasses import dataclass

from producer.plan import Plan
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.storage import Storage

# Called with the footers read so far and how many there are; also once with (0, n).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job that lies under its output, and whether this call put it there.

    Attributes:
        manifest: What the job is.
        created: False when the same job was there already, so that nothing was written.
    """

    manifest: Manifest
    created: bool


def plan_corpus(
    storage: Storage,
    spec: JobSpec,
    *,
    max_length: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Find the files, read their footers and cut them into chunks; writes nothing.

    Args:
        storage: Where the corpus lies.
        spec: What the user asked for.
        max_length: Most tokens of a row, for the estimate of tokens.
        progress: Told how many footers were read.

    Raises:
        InputMissing: An input names no file.
        InputCorrupt: A file is not Parquet, damaged or encrypted.
        SchemaMismatch: A column is absent or of a wrong type, or files disagree.
        UsageError: An id column cannot be called so, or every file was skipped.
    """
    raise NotImplementedError


def create_job(
    storage: Storage,
    spec: JobSpec,
    model: ModelPin,
    *,
    job_id: str | None = None,
    progress: Progress | None = None,
) -> Submission:
    """Plan a job and create its chunk table and manifest under `spec.output`, once.

    The same spec with the same model again (and the same job id, or none given) is no error: the
    manifest that is there is returned and nothing is read or written beyond it.

    Args:
        storage: Where corpus and output lie.
        spec: What the user asked for.
        model: The model, pinned.
        job_id: Name of the job; made up from the time when left out.
        progress: Told how many footers were read.

    Raises:
        OutputTaken: The output holds another job, or objects of somebody else.
        UsageError: Output and inputs overlap, or the job id is not valid; what `plan_corpus`
            raises as well.
    """
    raise NotImplementedError
