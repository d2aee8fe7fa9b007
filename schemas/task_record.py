"""A lifecycle task: training, evaluating or compressing a model, done by a worker.

ROOT/_tasks/<id>/task.json       what is to be done, created once
ROOT/_tasks/<id>/log-<n>.txt     the end of what attempt n said, replaced while it runs
ROOT/_tasks/<id>/report.html     or what else it was to keep
ROOT/_tasks/<id>/outcome.json    how it ended, created once: with it the task has ended

ROOT is `BULKSCORE_MODELS_URI`. The object store is the record; what Redis knows of a task can be
rebuilt from it.
"""

import re
from datetime import datetime
from operator import not_
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from schemas.dead_letter import AttemptRecord
from schemas.errors import ConfigurationError, JobUnknown
from schemas.job import JobId
from schemas.locations import canonical
from schemas.record import Record, parse_record
from schemas.storage import Storage

TASK_VERSION: Final = 1

Kind = Literal["train", "evaluate", "compress"]
Ending = Literal["succeeded", "dead", "cancelled"]

_ID = re.compile(r"(train|evaluate|compress)-\d{8}-\d{6}-[0-9a-f]{6}")


class LifecycleTask(Record):
    """What a worker is to do: `python -m worker.lifecycle.KIND ARGUMENTS`, in a folder of its own.

    `files` are put into the folder first, names and contents; those named by `keeps` are copied
    from there to the record when it is done. `reprocess_of` is the task that this one repeats.
    """

    version: Literal[1] = TASK_VERSION
    task_id: JobId
    kind: Kind
    arguments: tuple[str, ...]
    files: dict[str, str] = Field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    created_at: datetime
    created_by: str
    reprocess_of: JobId | None = Field(default=None, exclude_if=not_)


class TaskOutcome(Record):
    """How a task ended.

    `attempt` is the one that ended it, 0 where none did. `exit_code` is what the command would have
    ended with in a terminal, `printed` what it would have written to stdout.
    """

    version: Literal[1] = TASK_VERSION
    task_id: JobId
    state: Ending
    code: str = ""
    message: str = ""
    exit_code: int
    printed: str = ""
    worker: str = ""
    attempt: int = 0
    ended_at: datetime
    attempts: tuple[AttemptRecord, ...] = ()


class TaskFolder:
    """The record of one task on the object store."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self._storage = storage
        self.uri = uri

    def log_uri(self, attempt: int) -> str:
        """Return where the log of an attempt is."""
        return f"{self.uri}/log-{attempt}.txt"

    def create(self, task: LifecycleTask) -> bool:
        """Create the record; False when it was there."""
        body = task.model_dump_json(indent=2).encode()
        return self._storage.create(f"{self.uri}/task.json", body)

    def task(self) -> LifecycleTask:
        """Return what is to be done.

        Raises:
            JobUnknown: There is no such record.
            ManifestMissing: It is damaged.
        """
        uri = f"{self.uri}/task.json"
        if not self._storage.exists(uri):
            raise JobUnknown(f"there is no task at {self.uri}")
        return parse_record(LifecycleTask, self._storage.read(uri), uri)

    def end(self, outcome: TaskOutcome) -> TaskOutcome:
        """Enter how the task ended, and return how it did: whoever says so first is right."""
        self._storage.create(f"{self.uri}/outcome.json", outcome.model_dump_json(indent=2).encode())
        found = self.outcome()
        if found is None:
            raise AssertionError(f"bug: the outcome of {outcome.task_id} was created and is gone")
        return found

    def outcome(self) -> TaskOutcome | None:
        """Return how the task ended, None before it has."""
        uri = f"{self.uri}/outcome.json"
        if not self._storage.exists(uri):
            return None
        return parse_record(TaskOutcome, self._storage.read(uri), uri)

    def write_log(self, attempt: int, text: bytes) -> None:
        """Replace the log of an attempt."""
        self._storage.replace(self.log_uri(attempt), text)

    def keep(self, file: Path) -> None:
        """Put a file that the task has made beside the record, under its name."""
        self._storage.upload(file, f"{self.uri}/{file.name}")

    def kept(self, name: str) -> bytes:
        """Return a file that was kept.

        Raises:
            InputMissing: The task has not made it.
        """
        return self._storage.read(f"{self.uri}/{name}")

    def logs(self) -> list[str]:
        """Return the URIs of the logs, the first attempt's first."""
        found = [o.uri for o in self._storage.list_objects(self.uri)]
        return sorted((u for u in found if "/log-" in u), key=lambda u: (len(u), u))


def is_task_id(reference: str) -> bool:
    """Say whether a reference is the id of a task, as opposed to that of a job."""
    return _ID.fullmatch(reference) is not None


def tasks_root(models_uri: str | None) -> str:
    """Return the folder of all tasks.

    Raises:
        ConfigurationError: No registry is set.
    """
    if models_uri is None:
        raise ConfigurationError(
            "tasks are kept in the model registry: set BULKSCORE_MODELS_URI here and at workers"
        )
    return f"{canonical(models_uri)}/_tasks"


def open_tasks(storage: Storage, root: str) -> list[str]:
    """Return the ids of the tasks that have not ended, oldest first."""
    objects: dict[str, set[str]] = {}
    for found in storage.list_objects(root, recursive=True):
        task_id, _, name = found.uri.removeprefix(f"{root}/").rpartition("/")
        objects.setdefault(task_id, set()).add(name)
    return sorted(
        (t for t, names in objects.items() if "task.json" in names and "outcome.json" not in names),
        key=lambda task_id: task_id.partition("-")[2],
    )
