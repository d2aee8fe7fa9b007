"""The options of jobs that come again and again, and what is said about them."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.terminal import number_of, say

if TYPE_CHECKING:
    from producer.incremental import Increment

PANEL = "Schedule"
# How many files a line names.
NAMED_FILES = 5

LogicalDate = Annotated[
    str | None,
    typer.Option(
        "--logical-date",
        metavar="DATE",
        help="Date that the job is for, such as 2025-06-01: the job id is made of it and the "
        "options, so that a job that is started twice is one. Stands for {logical_date} in "
        "--input and --output.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Incremental = Annotated[
    bool,
    typer.Option(
        "--incremental",
        help="Score only files that are new or changed since earlier jobs with this option. The "
        "output collects jobs, each in a folder job=ID.",
        rich_help_panel=PANEL,
    ),
]

DriftReference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="JOB",
        help="A job, by id or output, to tell drift against when this one has ended; with "
        "--incremental also `previous`, the job of the collection before it.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


def say_increment(increment: "Increment") -> None:
    """Tell what was new to a collection, and what was passed over."""
    passed = f"{number_of(increment.scored_files, 'file')} scored already"
    if increment.files_under_way:
        passed += f", {number_of(increment.files_under_way, 'file')} in jobs that are under way"
    if increment.files:
        why = f"{increment.new_files:,} new, {len(increment.changed_files):,} changed"
        if increment.left_files:
            why += f", {increment.left_files:,} left unscored by an earlier job"
        say(f"{number_of(increment.files, 'file')} to score ({why}); passed over: {passed}")
    else:
        say(f"nothing new: {passed}")
    if changed := increment.changed_files:
        names = ", ".join(changed[:NAMED_FILES])
        more = f" and {len(changed) - NAMED_FILES:,} more" if len(changed) > NAMED_FILES else ""
        say(
            f"changed: {number_of(len(changed), 'file')}, of which earlier jobs hold rows that no "
            f"longer count: {names}{more}"
        )
