"""`compare`: what two jobs, or two models of one job, say of the same rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.comparison_text import print_comparison
from producer.cli.options import Json
from producer.cli.results import PANEL, told_now_and_then
from producer.cli.terminal import print_json, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from producer.compare_side import Side
    from producer.deployment import Deployment

JobA = Annotated[
    str, typer.Argument(metavar="JOB_A", help="What was before: a job id or an output URI.")
]
JobB = Annotated[
    str | None,
    typer.Argument(
        metavar="[JOB_B]",
        help="What to compare with it. Left out: another model of JOB_A.",
        show_default=False,
    ),
]
Suffix = Annotated[
    list[str],
    typer.Option(
        "--suffix",
        metavar="NAME",
        help="Of a job of several models, the one whose columns end in this name; once for JOB_A "
        "and once for JOB_B. Left out: the first model, and of one job the first two.",
        show_default=False,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="NAME",
        help="Put rows together by this id column. Left out: by source file and row.",
        show_default=False,
    ),
]
Rows = Annotated[
    int, typer.Option("--rows", min=0, metavar="N", help="How many rows that moved most to name.")
]

Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report with pictures, one HTML file, without the texts. Needs the train "
        "extra.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("compare", rich_help_panel=PANEL)(compare)


def compare(
    job_a: JobA,
    job_b: JobB = None,
    suffix: Suffix = [],  # noqa: B006 - typer copies it
    on: On = None,
    rows: Rows = 20,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Compare what two jobs say of the same rows: agreement, label moves, score shifts.

    Rows are named by source file, row and id columns, never by their text. Of a job that has not
    ended: what there is so far.

    Example: bulkscore compare s3://lake/scored-v1 s3://lake/scored-v2
    """
    from producer.compare import compare as compare_sides
    from producer.deployment import Deployment
    from producer.processes import require_installed
    from schemas.report_page import require_place

    if report is not None:
        require_installed("matplotlib", "train")
        require_place(report)
    a, b = _sides(Deployment.from_environment(), job_a, job_b, suffix)
    progress = told_now_and_then("rows compared")
    found = compare_sides(a, b, on=on, most=rows, progress=progress)
    if report is not None:
        from producer.compare_report import html_report

        report.write_text(html_report(found), encoding="utf-8")
        say(f"report: {report}")
    if as_json:
        print_json(found)
    else:
        print_comparison(found)
    if not found.rows:
        say("no row is in both: is it the same corpus, and the right --on?")


def _sides(
    deployment: "Deployment", job_a: str, job_b: str | None, suffixes: Sequence[str]
) -> "tuple[Side, Side]":
    """Return the two sides that were asked for.

    Raises:
        UsageError: They cannot be told, or are the same.
    """
    from producer.compare_side import side
    from producer.jobs import find_manifest

    if len(suffixes) > 2:
        raise UsageError(f"--suffix is for two sides, {len(suffixes)} were given")
    first = find_manifest(deployment, job_a)
    names: list[str | None] = list(suffixes)
    if job_b is None:
        known = [suffix.removeprefix("_") for suffix in first.spec.suffixes]
        if len(known) < 2:
            raise UsageError(
                f"job {first.job_id} has one model: name the job to compare it with, as in "
                f"bulkscore compare {job_a} JOB_B"
            )
        names = names or [known[0], known[1]]
        if len(names) < 2 or names[0] == names[1]:
            raise UsageError(f"give --suffix twice, for two of {', '.join(filter(None, known))}")
        second = first
    else:
        second = find_manifest(deployment, job_b)
        several = [len(job.models) > 1 for job in (first, second)]
        if len(names) == 1:
            names = [names[0] if many else None for many in several]
        names = names or [None, None]
    return side(deployment.storage, first, names[0]), side(deployment.storage, second, names[1])
