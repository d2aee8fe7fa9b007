"""What a job is: its spec, its pinned model, its input files and the manifest that holds them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import not_
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.record import Record as Record
from schemas.record import parse_record as parse_record
from schemas.signature import ProblemType as ProblemType
from schemas.signature import Signature

MANIFEST_VERSION: Final = 1

JobId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
# What stands behind the names of a model's columns: every SQL dialect takes it without quotes.
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Priority = Literal["high", "normal", "low"]
Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
# What becomes of the text behind `max_length` tokens: cut off, or scored in further windows, whose
# scores are averaged, or of which the one that shows a label most counts.
LongText = Literal["truncate", "windows", "windows-max"]

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
# The fields of a spec, and of a generation, that hold an error budget.
BUDGETS: Final = ("max_row_errors", "max_dead_chunks")
# Those that say nothing of what a job does: with others it is the same job.
NOT_IDENTITY: Final = (*BUDGETS, "drift_reference")
# Rows per chunk unless --chunk-rows says otherwise: some tens of seconds of work for a small
# encoder on a CPU, a second or two on a GPU.
DEFAULT_CHUNK_ROWS = 2_000
# Each is read beside the text and written beside the scores.
MAX_ID_COLUMNS: Final = 1_000
# What the columns of a canary end with.
CANARY_NAME: Final = "canary"


class ErrorBudget(Record):
    """How many rows with an error, or dead chunks, a job may have: so many, or a share of all."""

    count: int | None = Field(default=None, ge=0)
    percent: float | None = Field(default=None, ge=0, le=100)

    def limit(self, total: int) -> int | None:
        """Return the largest number out of `total` that keeps within the budget, None for any."""
        limits = [] if self.count is None else [self.count]
        if self.percent is not None:
            # In decimals, as it was typed: 0.57 % of 10,000 rows are 57, in binary a little less.
            limits.append(int(total * Decimal(str(self.percent)) / 100))
        return min(limits, default=None)


class Canary(Record):
    """The rows that a second model scores as well: a share of all, drawn by a seed."""

    percent: float = Field(gt=0, le=100)
    seed: int = Field(default=0, ge=0)


class JobSpec(Record):
    """What the submitter asked for.

    `further_models` and `model_names`, one name for each model, are there only in a job of several
    models: whoever knows of one model alone refuses such a job, and reads all others. With a
    `canary` there is one further model, without a name of its own: it scores a sample of the rows,
    and what becomes of them is decided by the first model alone. `drift_reference` is the output of
    the job to tell drift against.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    output: str
    model: str
    further_models: tuple[str, ...] = Field(default=(), exclude_if=not_)
    model_names: tuple[ModelName, ...] = Field(default=(), exclude_if=not_)
    text_column: str
    id_columns: tuple[str, ...] = Field(default=(), max_length=MAX_ID_COLUMNS)
    chunk_rows: int = Field(default=DEFAULT_CHUNK_ROWS, ge=1)
    max_length: int | None = Field(default=None, ge=8)
    long_text: LongText = "truncate"
    token_budget: int | None = Field(default=None, ge=1)
    dtype: Dtype = "auto"
    all_scores: bool = False
    skip_bad_files: bool = False
    max_row_errors: ErrorBudget | None = None
    max_dead_chunks: ErrorBudget | None = None
    priority: Priority = "normal"
    canary: Canary | None = Field(default=None, exclude_if=not_)
    drift_reference: str | None = Field(default=None, exclude_if=not_)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model, as it was asked for."""
        return (self.model, *self.further_models)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What stands behind the names of each model's columns, nothing for plain ones."""
        return tuple(f"_{name}" if name else "" for name in self.names) or ("",)

    @property
    def names(self) -> tuple[str, ...]:
        """What each of several models is called; beside a canary the first has no name."""
        return ("", CANARY_NAME) if self.canary else self.model_names

    @model_validator(mode="after")
    def _several_models_have_names(self) -> Self:
        if self.canary is not None and len(self.models) != 2:
            raise ValueError(f"a canary beside {len(self.models) - 1} models")
        named = len(self.models) if self.further_models and not self.canary else 0
        if len(self.model_names) != named:
            raise ValueError(f"{len(self.models)} models, {len(self.model_names)} names of models")
        return self


class ModelFile(Record):
    """One file of a model version."""

    path: str
    size: int
    sha256: str


class ModelPin(Record):
    """A model version as it was when the job was submitted.

    `digest` is the SHA-256 over the paths and SHA-256 sums of `files`: equal digests are equal
    models, wherever they lie. A registered version has its `ref` as `name@version`, whatever alias
    it was asked for by, and its `signature`, to which workers hold what they load.
    """

    ref: str
    name: str
    version: str | None = None
    uri: str
    digest: str
    files: tuple[ModelFile, ...]
    model_type: str
    problem_type: ProblemType
    labels: tuple[str, ...]
    max_length: int
    signature: Signature | None = Field(default=None, exclude_if=not_)


class InputFile(Record):
    """One Parquet file of the corpus, as it was when the job was planned."""

    uri: str
    size: int
    etag: str
    rows: int
    row_groups: int


class SkippedFile(Record):
    """A file left out because of `--skip-bad-files`."""

    uri: str
    code: str
    reason: str


class Manifest(Record):
    """The immutable description of a job, created once, before anything is queued.

    The chunk table lies beside it (`layout.chunk_table`), `chunk_table_sha256` ties the two.
    """

    version: Literal[1] = MANIFEST_VERSION
    job_id: JobId
    created_at: datetime
    bulkscore_version: str
    spec: JobSpec
    model: ModelPin
    further_models: tuple[ModelPin, ...] = Field(default=(), exclude_if=not_)
    files: tuple[InputFile, ...]
    skipped: tuple[SkippedFile, ...] = ()
    rows: int
    chunks: int
    text_bytes: int
    chunk_table_sha256: str

    @property
    def models(self) -> tuple[ModelPin, ...]:
        """Every model, in the order in which they were asked for."""
        return (self.model, *self.further_models)

    @property
    def model_digest(self) -> str:
        """What stands for all models in the records of the job."""
        return models_digest(self.models)

    @property
    def model_refs(self) -> str:
        """All models as they were asked for, in words."""
        return ", ".join(model.ref for model in self.models)


def models_digest(models: Sequence[ModelPin]) -> str:
    """Return the digest of one model, or the SHA-256 over those of several in their order."""
    if len(models) == 1:
        return models[0].digest
    return hashlib.sha256("\n".join(model.digest for model in models).encode()).hexdigest()


def spec_digest(spec: JobSpec, model_digest: str) -> str:
    """Return what makes two jobs the same job: the spec with `models_digest` for its models.

    Error budgets are left out: they say when to stop, not what to do, and may be changed later.
    So is the reference for drift, which is looked at after the end, and so are defaults, for a
    field that is added later to change no digest.
    """
    models = {"model": model_digest, "further_models": ()}
    same = spec.model_copy(update={**models, **dict.fromkeys(NOT_IDENTITY)})
    return hashlib.sha256(same.model_dump_json(exclude_defaults=True).encode()).hexdigest()
