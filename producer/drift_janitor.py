"""Tells the drift of jobs that ended while nobody watched."""

import logging
import threading

from producer.drift_own import record_own_drift
from schemas.complaints import Complaints
from schemas.election import Election
from schemas.errors import BulkError, JobUnknown, PermanentError, UsageError
from schemas.finalize import read_summary
from schemas.ledger import Ledger
from schemas.manifest import read_manifest
from schemas.storage import Storage

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


class DriftJanitor:
    """Looks for jobs that have a reference, have ended, and have no drift in their summary."""

    def __init__(self, ledger: Ledger, storage: Storage) -> None:
        self._ledger = ledger
        self._storage = storage
        self._election = Election(ledger, "drift", every_seconds=EVERY_SECONDS)
        self._complaints = Complaints(logger)

    def run_forever(self, stop: threading.Event) -> None:
        """Look every few seconds, until `stop` is set; one process at a time does."""
        while not stop.wait(EVERY_SECONDS):
            try:
                if self._election.won():
                    with self._election.kept():
                        self.look()
                self._complaints.forget("drift")
            except BulkError as error:
                self._complaints.warn("drift", error, action="drift_failed")
            except Exception:  # the thread's top frame
                logger.exception("drift", extra={"action": "drift_failed"})

    def look(self, only: str | None = None) -> None:
        """Tell what drift is due, of all jobs or of one; one job's trouble stops no other.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        for job_id in self._ledger.awaiting_drift():
            if only in (None, job_id):
                self._tell(job_id)

    def _tell(self, job_id: str) -> None:
        names = {"action": "drift_failed", "job_id": job_id}
        try:
            status = self._ledger.status(job_id)
            if not status.ended:
                return
            manifest = read_manifest(self._storage, status.output)
            told = record_own_drift(
                self._storage, manifest, read_summary(self._storage, status.output)
            )
            found = {d.of: str(d.verdict) for d in told.drift}
            logger.info("job %s: drift %s", job_id, found, extra={**names, "action": "drift_told"})
        except JobUnknown:
            pass
        except (PermanentError, UsageError) as error:
            logger.warning("drift of job %s is not told: %s", job_id, error, extra=names)
        except BulkError as error:
            self._complaints.warn(f"drift of job {job_id}", error, **names)
            return
        except Exception:
            logger.exception("drift of job %s", job_id, extra=names)
        self._ledger.drift_told(job_id)
