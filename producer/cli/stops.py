"""Words for a job that was stopped, by an error budget or an error: why, and how it goes on."""

from typing import TYPE_CHECKING

from producer.cli.terminal import number_of

if TYPE_CHECKING:
    from producer.job_report import JobReport
    from producer.progress import Progress
    from schemas.summary import Summary


def state_of(job: "JobReport | Summary") -> str:
    """Return the state of a job, and what stopped it."""
    if job.stopped_by is None:
        return str(job.state)
    if job.stopped_message:
        return f"{job.state}, {halted(job)}"
    if job.stopped_by == "rows_error":
        what, limit = f"{number_of(job.rows_error, 'row')} with an error", job.max_row_errors
    else:
        what, limit = number_of(job.chunks_dead, "dead chunk"), job.max_dead_chunks
    return f"{job.state}, stopped: {what}, {_option(job)} allows {limit:,}"


def halted(job: "JobReport | Summary | Progress") -> str:
    """Return what halted a job."""
    return f"halted: [{job.stopped_by}] {job.stopped_message}"


def way_on_from_halt(job: "JobReport | Summary | Progress", output: str) -> str:
    """Return what halted a job, and how it goes on."""
    return f"{halted(job)}; mend it, then: bulkscore resume {output}"


def way_on(job: "JobReport | Summary", output: str) -> list[str]:
    """Return what to do about a job that was stopped, line by line; nothing for another."""
    if job.stopped_by is None:
        return []
    if job.stopped_message:
        died = job.stopped_by in job.dead_by_code
        again = f"and, for the chunk that died of it: bulkscore reprocess {output}"
        return [way_on_from_halt(job, output), *([again] if died else [])]
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
    if job.stopped_message:
        return [f"{halted(job)}; once it is mended, the same command goes on"]
    look = [_rows(output)] if job.stopped_by == "rows_error" else []
    return [*look, f"with a higher {_option(job)} the same command goes on all the same"]


def way_on_from_damage(summary: "Summary", output: str) -> list[str]:
    """Return what to do about results that are damaged."""
    if not summary.chunks_damaged:
        return []
    return [
        f"{number_of(summary.chunks_damaged, 'result')} damaged; see which: "
        f"bulkscore verify {output}",
        f"delete them, then: bulkscore resume {output}; where a chunk is dead, then also: "
        f"bulkscore reprocess {output}",
    ]


def _rows(output: str) -> str:
    return f"the rows are those whose `error` in {output} is not null"


def _option(job: "JobReport | Summary") -> str:
    return "--max-row-errors" if job.stopped_by == "rows_error" else "--max-dead-chunks"
