"""Traces for OpenTelemetry: one for each attempt, with a span a stage, linked to its job.

Off unless the extra `otel` is installed and `OTEL_EXPORTER_OTLP_ENDPOINT` (or the variable for
traces alone) is set; all else is set by OpenTelemetry's own variables. Spans are made when the
attempt has ended, from the times it kept. Ids, numbers and codes only.
"""

import functools
import hashlib
import importlib.util
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import schemas
from worker.attempt import Attempt

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NANOSECONDS = 1_000_000_000


def trace(attempt: Attempt, outcome: str, worker: str) -> None:
    """Send the trace of an attempt that has ended, if traces are wanted; never fails."""
    provider = _provider()
    if provider is None:
        return
    try:
        _send(provider, attempt, outcome, worker)
    except Exception:  # it is about the work, not part of it
        logger.exception("trace not sent", extra=attempt.names)


def flush() -> None:
    """Send what has not been sent: the process ends."""
    if _provider.cache_info().currsize and (provider := _provider()) is not None:
        provider.shutdown()


def job_context(job_id: str) -> tuple[int, int]:
    """Return trace id and span id that stand for a job, the same in every process."""
    digest = hashlib.sha256(f"bulkscore job {job_id}".encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


@functools.cache
def _provider() -> "TracerProvider | None":
    """Return what sends spans, made in the process that has them: its thread survives no fork."""
    if not any(os.environ.get(name) for name in ENDPOINT_VARIABLES):
        return None
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        logger.warning("no traces: pip install 'bulkscore[otel]'")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "bulkscore-worker")
    resource = Resource.create({"service.name": name, "service.version": schemas.__version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _send(provider: "TracerProvider", attempt: Attempt, outcome: str, worker: str) -> None:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, Status, StatusCode, set_span_in_context

    tracer, journal = provider.get_tracer("bulkscore"), attempt.journal
    trace_id, span_id = job_context(attempt.job_id)
    given: dict[str, Any] = {
        "job_id": attempt.job_id,
        "chunk": attempt.chunk,
        "attempt": attempt.number,
        "generation": attempt.generation,
        "worker": worker,
        "model": journal.model,
        "outcome": outcome,
        "code": journal.error.code if journal.error else None,
    }
    attributes = {f"bulkscore.{name}": value for name, value in given.items() if value is not None}
    root = tracer.start_span(
        "chunk",
        context=Context(),
        links=[Link(SpanContext(trace_id, span_id, is_remote=True))],
        attributes=attributes,
        start_time=int(journal.began_at.timestamp() * NANOSECONDS),
    )
    for stage, spent in journal.clock.stages.items():
        if spent.times:
            span = tracer.start_span(
                stage,
                context=set_span_in_context(root, Context()),
                attributes={
                    "bulkscore.busy_seconds": round(spent.seconds, 6),
                    "bulkscore.times": spent.times,
                },
                start_time=int(spent.began * NANOSECONDS),
            )
            span.end(int(spent.ended * NANOSECONDS))
    if journal.error is not None:
        root.set_status(Status(StatusCode.ERROR, journal.error.code))
    root.end(time.time_ns())
