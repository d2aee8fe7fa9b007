"""One job on this machine in one go: create it, start a private stack for it, see it to its end.

The stack's broker is empty and forgets everything: what is done is known from the output alone,
so the same run again completes what is missing.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from producer.deployment import Deployment
from producer.drift_own import with_reference
from producer.footers import Progress as FooterProgress
from producer.incremental import Created
from producer.job_report import status_from_storage
from producer.local import LocalStack, StackOptions, state_folder
from producer.occasion import Occasion
from producer.progress import Meter, Progress
from producer.recovery import take_up
from producer.reprocess import reprocess
from producer.submit import Submission, pin
from producer.submit import create as create_job
from producer.watch import Follower
from schemas import layout
from schemas.job import JobSpec, Manifest
from schemas.settings import BrokerSettings, load

KEPT_LOGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of this machine a run may use, and where its workers log (None: our stderr)."""

    workers: int
    device: str | None
    log: Path | None


def create(
    deployment: Deployment, spec: JobSpec, *, occasion: Occasion, progress: FooterProgress
) -> Created:
    """Create the job, or find it when the output holds it already. Needs no broker.

    Raises:
        UsageError: The output is taken, or the options make no sense.
        PermanentError: Corpus or model cannot be used.
    """
    spec = occasion.dated(spec)
    models = pin(deployment, spec)
    spec = with_reference(deployment, spec, models, incremental=occasion.incremental)
    return create_job(deployment, spec, models, occasion=occasion, progress=progress)


def is_complete(deployment: Deployment, manifest: Manifest) -> bool:
    """Say whether every row of the job has a result."""
    return deployment.storage.exists(layout.success_marker(manifest.spec.output))


def progress_of_complete(deployment: Deployment, manifest: Manifest) -> Progress:
    """Return the progress of a job that is complete, read from its output."""
    return Meter().read(status_from_storage(deployment.storage, manifest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A job on its private stack."""

    deployment: Deployment
    stack: LocalStack
    submission: Submission

    def follow(self, tell: Callable[[str], None]) -> Iterator[Progress]:
        """Yield the progress until the job has ended, and look after the stack meanwhile.

        Raises:
            ProcessEnded: The broker ended, or workers keep ending.
        """

        def check_and_tell(line: str) -> None:
            self.stack.supervise()  # a broker that is gone will not come back
            tell(line)

        manifest = self.submission.manifest
        follower = Follower(self.deployment, manifest, keep_queued=True, tell=check_and_tell)
        for progress in follower.follow():
            self.stack.supervise()
            yield progress


@contextmanager
def running(manifest: Manifest, machine: Machine, *, send_dead_again: bool) -> Iterator[Running]:
    """Run the job on a stack of its own for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="bulkscore-run-") as folder:
        options = StackOptions(
            directory=Path(folder), log=machine.log, workers=machine.workers, device=machine.device
        )
        with LocalStack(options) as stack:
            deployment = on_stack(stack.url)
            if send_dead_again:
                reprocess(deployment, manifest)
            resumed = take_up(deployment, manifest)
            submission = Submission(manifest=manifest, resumed=resumed)
            yield Running(deployment=deployment, stack=stack, submission=submission)


def on_stack(url: str) -> Deployment:
    """Return the deployment of the environment with the broker at `url` instead."""
    given = Deployment.from_environment()
    return Deployment(
        broker_settings=load(BrokerSettings, redis_url=url),
        storage_settings=given.storage_settings,
        schedule=given.schedule,
    )


def log_of(job_id: str) -> Path:
    """Return the log file for the workers of a run, and remove the oldest of earlier runs."""
    folder = state_folder() / "logs"
    earlier = sorted(folder.glob("run-*.log"), key=lambda path: path.stat().st_mtime)
    for path in earlier[: -KEPT_LOGS + 1]:
        path.unlink(missing_ok=True)
    return folder / f"run-{job_id}.log"
