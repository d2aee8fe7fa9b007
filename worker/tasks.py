"""The Celery task: a message in, one attempt at its chunk, and always an orderly end.

Nothing may escape from here: what Celery would make of it (a lost message, a wedged worker) is
worse than anything the ledger does. A chunk whose attempt did not end well is found again by the
reconciler.
"""

import logging
import time
from typing import Any

from celery import shared_task, signals
from celery.exceptions import Reject

from schemas.errors import BulkError, VersionUnknown
from schemas.logs import set_up_logging
from schemas.message import TASK_NAME, parse_message
from schemas.settings import WorkerSettings, load
from schemas.task_queue import TASK_NAME as LIFECYCLE_TASK_NAME
from worker.metrics import ATTEMPTS, CHILD_STARTS
from worker.native_stderr import withhold
from worker.run_dir import busy, lower_flag, raise_flag
from worker.slot import free_leases, runner, task_runner
from worker.tracing import flush
from worker.versions import LeftToOthers

logger = logging.getLogger(__name__)
left_to_others = LeftToOthers()


# Here and not in `worker.app`: the child imports this module and not that one.
@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    settings = load(WorkerSettings)
    set_up_logging(format_name=settings.log_format, level=settings.log_level)


@signals.worker_process_init.connect
def _take_the_place_of_a_dead_child(**_: Any) -> None:
    """Free what this worker holds: a worker has one child, and it has only just begun.

    Its message goes to any worker, which would find the chunk held until the lease has run out.
    """
    lower_flag("busy")
    raise_flag("child")
    CHILD_STARTS.inc()
    try:
        free_leases()
    except BulkError as error:
        logger.warning("leases not freed: %s", error, extra={"action": "disown_failed"})


@signals.worker_process_init.connect
def _withhold_stderr(**_: Any) -> None:
    withhold()


@signals.worker_process_shutdown.connect
def _send_traces(**_: Any) -> None:
    flush()


@shared_task(name=TASK_NAME, ignore_result=True, bind=True)
def score_chunk(self: Any, message: dict[str, Any]) -> str:
    """Make one attempt at the chunk that `message` names; return how it ended."""
    started = time.monotonic()
    try:
        parsed = parse_message(message)
        with busy():
            outcome = runner().run(parsed)
    except VersionUnknown as error:
        if left_to_others(self.request.id, error):
            raise Reject(error, requeue=True) from None
        return error.code
    except BulkError as error:
        logger.warning("[%s] %s", error.code, error, extra={"action": "attempt_abandoned"})
        ATTEMPTS.labels("abandoned").inc()
        return error.code
    except Exception:  # a MemoryError that escapes would end the main process as well
        logger.exception("attempt abandoned", extra={"action": "attempt_abandoned"})
        ATTEMPTS.labels("abandoned").inc()
        return "abandoned"
    ATTEMPTS.labels(outcome).inc()
    logger.info(
        "chunk %d of job %s: %s in %.1f s",
        parsed.chunk,
        parsed.job_id,
        outcome,
        time.monotonic() - started,
        extra={
            "action": "attempt_ended",
            "job_id": parsed.job_id,
            "chunk": parsed.chunk,
            "outcome": outcome,
        },
    )
    return outcome


@shared_task(name=LIFECYCLE_TASK_NAME, ignore_result=True)
def run_lifecycle_task(task_id: str) -> str:
    """Make one attempt at a lifecycle task; return how it ended."""
    try:
        outcome = task_runner().run(task_id)
    except BulkError as error:
        logger.warning("[%s] %s", error.code, error, extra={"action": "attempt_abandoned"})
        return error.code
    except Exception:
        logger.exception("attempt abandoned", extra={"action": "attempt_abandoned"})
        return "abandoned"
    names = {"action": "attempt_ended", "job_id": task_id, "outcome": outcome}
    logger.info("task %s: %s", task_id, outcome, extra=names)
    return outcome
