"""The end of a job: its summary and, when every row has a result, its success marker.

Idempotent: whoever notices that a job has no pending chunk may call it, several at once too.
"""

import logging
from datetime import UTC, datetime

from schemas import layout
from schemas.budget import Halt
from schemas.chunks import sha256_of
from schemas.errors import InputMissing, ManifestMissing
from schemas.job import Manifest, parse_record
from schemas.result_table import ResultTable
from schemas.states import JobState
from schemas.storage import Storage
from schemas.summary import Summary
from schemas.survey import Survey, tally
from schemas.tally import Tally

logger = logging.getLogger(__name__)


def finalize(
    storage: Storage, manifest: Manifest, found: Survey, *, halt: Halt | None = None
) -> Summary:
    """Write the summary and the marker of a job whose chunks have all ended.

    Args:
        storage: Where the job's output lies.
        manifest: The job.
        found: A survey made after the last chunk ended.
        halt: The error that halted it, if one did.
    """
    output = manifest.spec.output
    sums = tally(storage, manifest, found)
    for problem in sums.damaged.values():
        logger.error(
            "%s; delete it, then `bulkscore resume %s`, and `bulkscore reprocess` if it is dead",
            problem,
            output,
            extra={"action": "result_damaged", "job_id": manifest.job_id},
        )
    results = sums.results.to_bytes()
    summary = _summary(manifest, found, sums, sha256_of(results), halt)
    table = layout.result_table(output, summary.results_sha256)
    older = _result_tables(storage, output) - {table}
    if summary.state is not JobState.SUCCEEDED:
        storage.delete(layout.success_marker(output))
    storage.remove_leftovers(output)
    storage.replace(table, results)
    storage.replace(layout.summary(output), summary.model_dump_json(indent=2).encode())
    if summary.state is JobState.SUCCEEDED:
        storage.create(layout.success_marker(output), b"")
    # Last, and none that came in meanwhile: no summary may name a table that is gone.
    for uri in older:
        storage.delete(uri)
    return summary


def read_summary(storage: Storage, output: str) -> Summary:
    """Return the summary of a job that has ended.

    Raises:
        InputMissing: There is none.
        ManifestMissing: It is damaged.
    """
    uri = layout.summary(output)
    body = storage.read(uri)
    try:
        return parse_record(Summary, body, uri)
    except ManifestMissing as error:
        raise ManifestMissing(f"{error}; `bulkscore resume {output}` writes it anew") from None


def has_summary(storage: Storage, output: str) -> bool:
    """Say whether the job has a summary that can be used, with the table it names."""
    try:
        read_result_table(storage, output, read_summary(storage, output))
    except (InputMissing, ManifestMissing):
        return False
    return True


def read_result_table(storage: Storage, output: str, summary: Summary) -> ResultTable:
    """Return the table of the results that a summary counts.

    Raises:
        ManifestMissing: It is gone or is not the one the summary was written with.
    """
    uri = layout.result_table(output, summary.results_sha256)
    try:
        data = storage.read(uri)
    except InputMissing as error:
        raise ManifestMissing(
            f"{uri}, the table of the results, is gone; `bulkscore resume {output}` writes it anew"
        ) from error
    if sha256_of(data) != summary.results_sha256:
        raise ManifestMissing(
            f"{uri} is not the table that the summary was written with; `bulkscore resume {output}`"
            " writes it anew"
        )
    return ResultTable.from_bytes(data)


def _result_tables(storage: Storage, output: str) -> set[str]:
    """Return the tables of this end of the job and of earlier ones."""
    names = (o.uri.rpartition("/")[2] for o in storage.list_objects(layout.records(output)))
    return {f"{layout.records(output)}/{n}" for n in names if layout.is_result_table(n)}


def _summary(
    manifest: Manifest, found: Survey, sums: Tally, results_sha256: str, halt: Halt | None
) -> Summary:
    accounted = sums.rows_scored + sums.rows_error + sums.rows_dead
    passed = found.limits.passed(rows_error=sums.rows_error, chunks_dead=len(found.dead))
    state = _outcome(manifest, found, sums)
    failed = state is JobState.FAILED
    return Summary(
        job_id=manifest.job_id,
        state=state,
        stopped_by=(halt.code if halt else passed) if failed else None,
        stopped_message=halt.message if halt and failed else "",
        max_row_errors=found.limits.rows_error,
        max_dead_chunks=found.limits.chunks_dead,
        model=manifest.model_refs,
        model_digest=manifest.model_digest,
        rows=manifest.rows,
        rows_scored=sums.rows_scored,
        rows_error=sums.rows_error,
        rows_dead=sums.rows_dead,
        rows_missing=manifest.rows - accounted,
        errors=dict(sorted(sums.row_errors.items())),
        chunks=manifest.chunks,
        chunks_succeeded=len(found.results) - len(sums.damaged),
        chunks_dead=len(found.dead),
        chunks_damaged=len(sums.damaged),
        dead_by_code=dict(sorted(sums.dead_by_code.items())),
        tokens=sums.tokens,
        truncated_rows=sums.truncated_rows,
        unknown_tokens=sums.unknown_tokens,
        unknown_token_rate=sums.unknown_token_rate,
        scoring_seconds=round(sums.scoring_seconds, 3),
        workers=tuple(sorted(sums.workers)),
        results_sha256=results_sha256,
        skipped_files=manifest.skipped,
        created_at=manifest.created_at,
        finished_at=datetime.now(UTC),
        models=tuple(sums.models.values()),
    )


def _outcome(manifest: Manifest, found: Survey, sums: Tally) -> JobState:
    if found.missing:
        return JobState.CANCELLED if found.cancelled else JobState.FAILED
    within = found.limits.passed(rows_error=sums.rows_error, chunks_dead=len(found.dead)) is None
    complete = sums.rows_scored + sums.rows_error == manifest.rows
    return JobState.SUCCEEDED if within and complete and not found.dead else JobState.FAILED
