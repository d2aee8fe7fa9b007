"""Lifecycle tasks from the user's side: put one on the queue, look at it, follow it, end it."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from producer.deployment import Deployment
from producer.task_arguments import Request
from producer.task_report import TaskReport, full_report, live_report
from schemas.errors import (
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    ExitCode,
    InputMissing,
    JobUnknown,
    UsageError,
)
from schemas.job_status import JobStatus
from schemas.ledger import Ledger
from schemas.locations import canonical
from schemas.registry import whoami
from schemas.settings import RegistrySettings, load
from schemas.task_queue import QUEUE, TaskReconciler, enter, enter_outcome, task_ledger
from schemas.task_record import (
    Kind,
    LifecycleTask,
    TaskFolder,
    TaskOutcome,
    is_task_id,
    tasks_root,
)

POLL_SECONDS = 0.5
# Redis may be away for so long before a wait gives up, as with jobs.
OUTAGE_SECONDS = 300.0


class Tasks:
    """The tasks of a deployment; `models_uri` is where the registry is, if one is set."""

    def __init__(self, deployment: Deployment, models_uri: str | None) -> None:
        self._deployment = deployment
        self._models_uri = models_uri
        self.ledger: Ledger = task_ledger(deployment.broker_settings)

    @classmethod
    def from_environment(cls) -> "Tasks":
        """Read the settings from the environment."""
        return cls(Deployment.from_environment(), load(RegistrySettings).models_uri)

    def submit(
        self, kind: Kind, request: Request, *, reprocess_of: str | None = None
    ) -> LifecycleTask:
        """Record a task, which may repeat another, and put it on the queue.

        Raises:
            ConfigurationError: No registry is set.
            BrokerUnavailable: Redis does not answer; nothing was recorded.
        """
        root = tasks_root(self._models_uri)
        self._deployment.require_broker()
        self._deployment.require_storage(root)
        now = datetime.now(UTC)
        task = LifecycleTask(
            task_id=f"{kind}-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
            kind=kind,
            arguments=request.arguments,
            files=request.files,
            keeps=tuple(request.keeps),
            created_at=now,
            created_by=whoami(),
            reprocess_of=reprocess_of,
        )
        folder = TaskFolder(self._deployment.storage, f"{root}/{task.task_id}")
        folder.create(task)
        # From here on it will be done, whatever becomes of this process.
        enter(self.ledger, task.task_id, folder.uri)
        self.reconcile()
        return task

    def served(self) -> bool:
        """Say whether a worker that answers takes such tasks; yes where we may not ask."""
        try:
            return self._deployment.broker.serves(QUEUE)
        except BrokerRefused:
            return True

    def reconcile(self) -> None:
        """Keep what has not ended on the queue."""
        root = tasks_root(self._models_uri) if self._models_uri else None
        TaskReconciler(
            self.ledger,
            self._deployment.storage,
            root,
            self._deployment.broker.publish_task,
            self._deployment.schedule,
        ).run_once()

    def report(self, reference: str) -> TaskReport:
        """Return where the task is that `reference`, an id or the URI of its record, names.

        Raises:
            JobUnknown: There is none.
        """
        status, folder = self._find(reference)
        return full_report(self.ledger, status, folder)

    def known(self) -> list[TaskReport]:
        """Return the tasks that the ledger knows, newest first, without their outcomes."""
        found = []
        for task_id in reversed(self.ledger.jobs()):
            try:
                found.append(live_report(self.ledger, self.ledger.status(task_id)))
            except JobUnknown:  # it expired since the list was read
                continue
        return found

    def cancel(self, reference: str) -> TaskOutcome:
        """End a task for good: one that runs is stopped within seconds.

        Raises:
            UsageError: It has ended.
        """
        status, folder = self._find(reference)
        task = folder.task()
        wanted = TaskOutcome(
            task_id=task.task_id,
            state="cancelled",
            code="cancelled",
            message=f"cancelled by {whoami()}",
            exit_code=ExitCode.INTERRUPTED,
            ended_at=datetime.now(UTC),
        )
        outcome = folder.end(wanted)
        if outcome.state != "cancelled":
            raise UsageError(f"task {task.task_id} has ended already: {outcome.state}")
        if status is not None:
            enter_outcome(self.ledger, outcome)
        return outcome

    def fetch(self, report: TaskReport, name: str, place: Path) -> bool:
        """Write a file that a task has kept to a place here; False when it has made none."""
        folder = TaskFolder(self._deployment.storage, report.record)
        try:
            place.write_bytes(folder.kept(name))
        except InputMissing:
            return False
        return True

    def log(self, reference: str) -> str:
        """Return the end of what the last attempt said on stderr, empty before there is any."""
        _, folder = self._find(reference)
        logs = folder.logs()
        return self._deployment.storage.read(logs[-1]).decode(errors="replace") if logs else ""

    def follow(
        self, reference: str, *, keep_queued: bool, timeout_seconds: float | None = None
    ) -> Iterator[TaskReport]:
        """Yield where a task is until it has ended or the time is over; Redis may be away."""
        began = answered = time.monotonic()
        while True:
            try:
                if keep_queued:
                    self.reconcile()
                report = self.report(reference)
            except BrokerUnavailable:
                if time.monotonic() - answered > OUTAGE_SECONDS:
                    raise
            else:
                answered = time.monotonic()
                yield report
                if report.ended:
                    return
            if timeout_seconds is not None and time.monotonic() - began >= timeout_seconds:
                return
            time.sleep(POLL_SECONDS)

    def _find(self, reference: str) -> tuple[JobStatus | None, TaskFolder]:
        """Return what the ledger knows of a task, if anything, and its record."""
        task_id = reference.rstrip("/").rpartition("/")[2]
        status = None
        if not self.ledger.knows(task_id):
            uri = self._place_of(reference, task_id)
        else:
            status = self.ledger.status(task_id)
            uri = status.output
        folder = TaskFolder(self._deployment.storage, uri)
        if status is None:
            folder.task()  # raises where there is none
        return status, folder

    def _place_of(self, reference: str, task_id: str) -> str:
        if "/" in reference:
            return canonical(reference)
        try:
            return f"{tasks_root(self._models_uri)}/{task_id}"
        except ConfigurationError as error:
            raise JobUnknown(f"Redis knows no task {task_id}, and {error}") from None


def is_task(reference: str) -> bool:
    """Say whether a reference names a task: its id, or a URI that ends in one."""
    return is_task_id(reference.rstrip("/").rpartition("/")[2])
