"""What the model registry keeps as JSON: version manifests, aliases and events."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from schemas.job import ModelFile
from schemas.record import Record

VERSION_FORMAT: Final = 1
NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"

# The name of a model, a version or an alias: one part of a path, on disk as on S3.
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME_PATTERN}$")]
Action = Literal["register", "evaluate", "promote", "rollback", "remove"]


class PlainFile(ModelFile):
    """A file whose name is no path: whoever tampers with a manifest leads nowhere else."""

    path: Name


class Parent(Record):
    """The version that another one was made from."""

    ref: str
    digest: str


class VersionManifest(Record):
    """What a version is, written last and created once: without it there is no version.

    Attributes:
        folder: Name of the folder, beside the manifest, that holds all files.
        digest: That of `files`, as in the pin of a job.
        files: What is loaded.
        documents: What is not: signature, metrics, model card.
    """

    format: Literal[1] = VERSION_FORMAT
    name: Name
    version: Name
    created_at: datetime
    created_by: str
    bulkscore_version: str
    folder: Name
    digest: str
    files: tuple[PlainFile, ...]
    documents: tuple[PlainFile, ...]
    parent: Parent | None = None

    @property
    def ref(self) -> str:
        """The one name of the version."""
        return f"{self.name}@{self.version}"


class Alias(Record):
    """Where an alias points.

    `before` are the versions that a rollback leads back to, the last one first to be taken.
    """

    name: Name
    alias: Name
    version: Name
    action: Action
    moved_at: datetime
    moved_by: str
    reason: str | None = None
    gate: str | None = None
    before: tuple[Name, ...] = ()


class Event(Record):
    """What somebody did, for the history; `before` is the version that an alias pointed to."""

    action: Action
    at: datetime
    by: str
    version: Name
    alias: Name | None = None
    before: Name | None = None
    reason: str | None = None
    gate: str | None = None
