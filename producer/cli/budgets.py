"""Words for a job that its error budget has stopped: why, and how it goes on."""

from typing import TYPE_CHECKING

from producer.cli.terminal import number_of

if TYPE_CHECKING:
    from producer.job_report import JobReport
    from schemas.summary import Summary


def state_of(job: "JobReport | Summary") -> str:
    """Return the state of a job, and what stopped it."""
    if job.stopped_by is None:
        return str(job.state)
    if job.stopped_by == "rows_error":
        what, limit = f"{number_of(job.rows_error, 'row')} with an error", job.max_row_errors
    else:
        what, limit = number_of(job.chunks_dead, "dead chunk"), job.max_dead_chunks
    return f"{job.state}, stopped: {what}, {_option(job)} allows {limit:,}"


def way_on(job: "JobReport | Summary", output: str) -> list[str]:
    """Return what to do about a job that was stopped, line by line; nothing for another."""
    if job.stopped_by is None:
        return []
    go_on = f"to go on all the same: bulkscore resume {output} {_option(job)} N|P%"
    if job.stopped_by == "rows_error":
        return [_rows(output), go_on]
    return [
        f"see why: bulkscore dead-letters {output}",
        f"once that is mended: bulkscore reprocess {output}",
        go_on,
    ]


def way_on_with_run(job: "Summary", output: str) -> list[str]:
    """Return the same for `run`, which leaves no broker for other commands."""
    if job.stopped_by is None:
        return []
    look = [_rows(output)] if job.stopped_by == "rows_error" else []
    return [*look, f"with a higher {_option(job)} the same command goes on all the same"]


def _rows(output: str) -> str:
    return f"the rows are those whose `error` in {output} is not null"


def _option(job: "JobReport | Summary") -> str:
    return "--max-row-errors" if job.stopped_by == "rows_error" else "--max-dead-chunks"
