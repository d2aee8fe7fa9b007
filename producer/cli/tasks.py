"""Lifecycle tasks on the command line: followed to their end, listed, and shown."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from producer.cli.terminal import (
    duration,
    plain,
    print_facts,
    print_json,
    print_line,
    print_table,
    say,
)
from producer.cli.watching import way_back
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from producer.task_report import TaskReport
    from producer.tasks import Tasks

# A line that has not changed is said again after so long, to show that something still runs.
SAID_AGAIN_SECONDS = 30.0


def follow_task(
    tasks: "Tasks",
    reference: str,
    *,
    keep_queued: bool,
    timeout: float | None = None,
    as_json: bool = False,
    fetch: "Mapping[str, Path] | None" = None,
) -> None:
    """Say what a task says until it has ended, print what it printed, and exit as it did.

    Args:
        tasks: Where it is.
        reference: Its id, or the URI of its record.
        keep_queued: Keep it on the queue meanwhile.
        timeout: Seconds after which to leave.
        as_json: Print all that is known of it instead.
        fetch: Files that it keeps, and where they are wanted.
    """
    last: TaskReport | None = None
    said, when = "", 0.0
    with way_back(reference):
        for last in tasks.follow(reference, keep_queued=keep_queued, timeout_seconds=timeout):
            line = f"{last.state}, attempt {last.attempts}: {last.progress}".rstrip(": ")
            if line != said or time.monotonic() - when >= SAID_AGAIN_SECONDS:
                said, when = line, time.monotonic()
                if not last.ended:
                    say(line)
    if last is None or last.outcome is None:
        say(f"timed out; the task goes on: bulkscore wait {reference}")
        raise typer.Exit(ExitCode.WAIT_TIMED_OUT)
    outcome = last.outcome
    for name, place in (fetch or {}).items():
        if tasks.fetch(last, name, place):
            say(f"report: {place}")
    if as_json:
        print_json(task_json(last))
    elif outcome.printed:
        print_line(outcome.printed.rstrip("\n"))
    if outcome.message:
        say(f"task {last.job_id} is {outcome.state} [{outcome.code}]: {outcome.message}")
    else:
        say(f"task {last.job_id} {outcome.state}")
    raise typer.Exit(last.exit_code)


def print_tasks(reports: "Sequence[TaskReport]") -> None:
    """Print a table of tasks."""
    print_table(
        ("task", "state", "#attempts", "opened", "progress"),
        (
            (r.job_id, r.state, r.attempts, f"{r.opened_at:%Y-%m-%d %H:%M}", r.progress)
            for r in reports
        ),
    )


def show_task(tasks: "Tasks", reference: str, *, log: bool, as_json: bool) -> None:
    """Print where a task is, or its log."""
    if log:
        print_line(tasks.log(reference).rstrip("\n"))
        return
    report = tasks.report(reference)
    if as_json:
        print_json(task_json(report))
        return
    print_facts(_facts(report))
    if report.failed:
        print_line("\nattempts that failed")
        print_table(
            ("#attempt", "at", "worker", "code", "message"),
            ((a.number, f"{a.at:%H:%M:%S}", a.worker, a.code, a.message) for a in report.failed),
        )
    if report.outcome is not None and report.outcome.printed:
        print_line(f"\n{report.outcome.printed.rstrip()}")


def task_json(report: "TaskReport") -> dict[str, Any]:
    """Return a report for programs; `result` is what the task printed, if that is JSON."""
    found: dict[str, Any] = plain(report)
    if report.outcome is not None:
        found["exit_code"] = report.exit_code
        try:
            found["result"] = json.loads(report.outcome.printed)
        except ValueError:
            found["result"] = None
    return found


def _facts(report: "TaskReport") -> dict[str, object]:
    outcome = report.outcome
    took = report.closed_at and duration((report.closed_at - report.opened_at).total_seconds())
    return {
        "task": report.job_id,
        "command": shlex.join([report.kind, *report.arguments]),
        **({"reprocess of": report.reprocess_of} if report.reprocess_of else {}),
        "state": str(report.state),
        "attempts": report.attempts,
        **({"progress": report.progress} if report.progress else {}),
        **(
            {"died of": outcome.code, "message": outcome.message}
            if outcome and outcome.code
            else {}
        ),
        "record": report.record,
        **({"kept": ", ".join(report.kept)} if report.kept else {}),
        "workers": ", ".join(report.workers) or (outcome.worker if outcome else "") or "none",
        "opened": f"{report.opened_at:%Y-%m-%d %H:%M:%S}",
        "closed": report.closed_at and f"{report.closed_at:%Y-%m-%d %H:%M:%S}, after {took}",
    }
