"""What the elected reconciler counts, be it in a worker or in `bulkscore reconcile --forever`."""

from collections.abc import Sequence

from schemas.exposition import Counter, Gauge, Histogram
from schemas.reconciler import Pass

PASS_SECONDS = Histogram(
    "bulkscore_reconcile_seconds",
    "Time of a pass of the reconciler over all jobs.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 900),
)
LAST_PASS = Gauge(
    "bulkscore_reconcile_last_pass_timestamp_seconds",
    "When the last pass of the reconciler came to its end, in seconds since the epoch.",
    multiprocess_mode="max",
)
ENQUEUED = Counter("bulkscore_messages_enqueued", "Chunk messages put on a queue.")
EXPIRED = Counter("bulkscore_leases_expired", "Leases that ran out: their worker is gone or hangs.")
ENDED = Counter("bulkscore_jobs_ended", "Jobs that came to their end.", ["state"])


def count_passes(passes: Sequence[Pass], seconds: float) -> None:
    """Count what a pass over all jobs did; see `schemas.reconciler.Watch`."""
    PASS_SECONDS.observe(seconds)
    LAST_PASS.set_to_current_time()
    for one in passes:
        ENQUEUED.inc(one.enqueued)
        EXPIRED.inc(one.expired)
        if one.ended is not None:
            ENDED.labels(one.ended.value).inc()
