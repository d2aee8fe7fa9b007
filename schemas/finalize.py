"""The end of a job: its summary and, when every row has a result, its success marker.

Idempotent: whoever notices that a job has no pending chunk may call it, several at once too.
"""

from datetime import UTC, datetime

from schemas import layout
from schemas.job import Manifest, parse_record
from schemas.states import JobState
from schemas.storage import Storage
from schemas.summary import Summary
from schemas.survey import Survey, Tally, tally


def finalize(storage: Storage, manifest: Manifest, found: Survey) -> Summary:
    """Write the summary and the marker of a job whose chunks have all ended.

    Args:
        storage: Where the job's output lies.
        manifest: The job.
        found: A survey made after the last chunk ended.
    """
    sums = tally(storage, manifest, found)
    summary = _summary(manifest, found, sums)
    output = manifest.spec.output
    storage.replace(layout.summary(output), summary.model_dump_json(indent=2).encode())
    if summary.state is JobState.SUCCEEDED:
        storage.create(layout.success_marker(output), b"")
    else:
        storage.delete(layout.success_marker(output))
    return summary


def read_summary(storage: Storage, output: str) -> Summary:
    """Return the summary of a job that has ended."""
    uri = layout.summary(output)
    return parse_record(Summary, storage.read(uri), uri)


def _summary(manifest: Manifest, found: Survey, sums: Tally) -> Summary:
    accounted = sums.rows_scored + sums.rows_error + sums.rows_dead
    passed = found.limits.passed(rows_error=sums.rows_error, chunks_dead=len(found.dead))
    state = _outcome(manifest, found, sums)
    return Summary(
        job_id=manifest.job_id,
        state=state,
        stopped_by=passed if state is JobState.FAILED else None,
        max_row_errors=found.limits.rows_error,
        max_dead_chunks=found.limits.chunks_dead,
        model=manifest.model.ref,
        model_digest=manifest.model.digest,
        rows=manifest.rows,
        rows_scored=sums.rows_scored,
        rows_error=sums.rows_error,
        rows_dead=sums.rows_dead,
        rows_missing=manifest.rows - accounted,
        errors=dict(sorted(sums.row_errors.items())),
        chunks=manifest.chunks,
        chunks_succeeded=len(found.results),
        chunks_dead=len(found.dead),
        dead_by_code=dict(sorted(sums.dead_by_code.items())),
        tokens=sums.tokens,
        truncated_rows=sums.truncated_rows,
        scoring_seconds=round(sums.scoring_seconds, 3),
        workers=tuple(sorted(sums.workers)),
        skipped_files=manifest.skipped,
        created_at=manifest.created_at,
        finished_at=datetime.now(UTC),
    )


def _outcome(manifest: Manifest, found: Survey, sums: Tally) -> JobState:
    if found.missing:
        return JobState.CANCELLED if found.cancelled else JobState.FAILED
    within = found.limits.passed(rows_error=sums.rows_error, chunks_dead=len(found.dead)) is None
    complete = sums.rows_scored + sums.rows_error == manifest.rows
    return JobState.SUCCEEDED if within and complete and not found.dead else JobState.FAILED
