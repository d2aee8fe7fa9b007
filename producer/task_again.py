"""Lifecycle tasks that failed for good, sent again."""

from pathlib import Path

from producer.deployment import Deployment
from producer.task_arguments import Request
from producer.task_report import TaskReport
from producer.tasks import Tasks
from schemas.errors import UsageError
from schemas.task_record import LifecycleTask, TaskFolder


def failed_task(tasks: Tasks, reference: str) -> TaskReport:
    """Return a task that is dead or cancelled.

    Raises:
        JobUnknown: There is no such task.
        UsageError: It has succeeded, or not ended.
    """
    report = tasks.report(reference)
    if report.outcome is None:
        raise UsageError(f"task {report.job_id} has not ended: bulkscore watch {report.job_id}")
    if report.outcome.state == "succeeded":
        raise UsageError(f"task {report.job_id} has succeeded: there is nothing to send again")
    return report


def send_again(deployment: Deployment, tasks: Tasks, reference: str) -> LifecycleTask:
    """Put a new task on the queue that is asked for the same as one that failed.

    Raises:
        BulkError: As `failed_task` and `Tasks.submit`.
    """
    task = TaskFolder(deployment.storage, failed_task(tasks, reference).record).task()
    keeps = {name: Path(name) for name in task.keeps}
    request = Request(arguments=task.arguments, files=task.files, keeps=keeps)
    return tasks.submit(task.kind, request, reprocess_of=task.task_id)
