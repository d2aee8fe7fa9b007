"""`compare`: what two jobs, or two models of one job, say of the same rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.options import Json
from producer.cli.results import PANEL, told_now_and_then
from producer.cli.terminal import print_facts, print_json, print_line, print_table, say
from schemas.errors import UsageError

if TYPE_CHECKING:
    from producer.agreement import Share
    from producer.compare_record import ComparedModel, Comparison
    from producer.compare_side import Side
    from producer.deployment import Deployment

# A matrix of more labels is printed as a list of its largest numbers.
MATRIX_LABELS = 12
LISTED_MOVES = 30

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


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command("compare", rich_help_panel=PANEL)(compare)


def compare(
    job_a: JobA,
    job_b: JobB = None,
    suffix: Suffix = [],  # noqa: B006 - typer copies it
    on: On = None,
    rows: Rows = 20,
    as_json: Json = False,
) -> None:
    """Compare what two jobs say of the same rows: agreement, label moves, score shifts.

    Rows are named by source file, row and id columns, never by their text. Of a job that has not
    ended: what there is so far.

    Example: bulkscore compare s3://lake/scored-v1 s3://lake/scored-v2
    """
    from producer.compare import compare as compare_sides
    from producer.deployment import Deployment

    a, b = _sides(Deployment.from_environment(), job_a, job_b, suffix)
    progress = told_now_and_then("rows compared")
    found = compare_sides(a, b, on=on, most=rows, progress=progress)
    if as_json:
        print_json(found)
    else:
        print_comparison(found)
    if not found.rows:
        say("no row is in both: is it the same corpus, and the right --on?")


def print_comparison(found: "Comparison", *, models: bool = True) -> None:
    """Print a comparison: facts, label moves, shifts, and the rows that moved most."""
    print_facts({**(_model_facts(found) if models else {}), **_facts(found)})
    if found.label_moves:
        print_line("\nlabel moves (before: rows, after: columns)")
        _print_moves(found)
    shift = found.shift
    if shift.rows:
        print_line("\nscore shift")
        print_table(
            ("#quantile", "#shift"),
            ((f"{float(q):.0%}", _signed(value)) for q, value in shift.quantiles.items()),
        )
        print_table(
            ("from", "to", "#rows"),
            (
                (f"{low:g}", f"{high:g}", count)
                for low, high, count in zip(
                    shift.edges, shift.edges[1:], shift.histogram, strict=False
                )
            ),
        )
    if found.moved_most:
        print_line("\nrows that moved most")
        _print_rows(found)


def share_text(share: "Share") -> str:
    """Return a share with its interval."""
    if share.share is None or share.low is None or share.high is None:
        return "no row"
    interval = f"95 % interval {share.low:.2%} to {share.high:.2%}"
    return f"{share.share:.2%} of {share.of:,} rows ({interval})"


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


def _model_facts(found: "Comparison") -> dict[str, object]:
    def text(model: "ComparedModel") -> str:
        name = f", {model.name}" if model.name else ""
        return f"job {model.job_id}{name}: {model.model}, digest {model.model_digest[:12]}"

    return {"before": text(found.a), "after": text(found.b)}


def _facts(found: "Comparison") -> dict[str, object]:
    facts: dict[str, object] = {"rows in both": found.rows, "  scored by both": found.rows_compared}
    for error in found.errors:
        before, after = error.before or "scored", error.after or "scored"
        facts[f"  {before} before, {after} after"] = error.rows
    facts |= {"rows only before": found.rows_only_a, "rows only after": found.rows_only_b}
    for name, files in (("before", found.files_only_a), ("after", found.files_only_b)):
        if files:
            facts[f"files only {name}"] = ", ".join(files)
    if found.rows_ambiguous:
        facts["rows left out, id not unique"] = found.rows_ambiguous
    if found.agreement is not None:
        kappa = "" if found.kappa is None else f", kappa {found.kappa:.3f}"
        facts["same label"] = share_text(found.agreement) + kappa
    shift = found.shift
    if shift.mean is not None and shift.mean_absolute is not None:
        facts["score shift"] = (
            f"mean {shift.mean:+.5f}, mean magnitude {shift.mean_absolute:.5f}, known of "
            f"{shift.rows:,} rows"
        )
    return facts


def _print_moves(found: "Comparison") -> None:
    moves = {(move.before, move.after): move.rows for move in found.label_moves}
    labels = sorted({label for pair in moves for label in pair})
    if len(labels) <= MATRIX_LABELS:
        print_table(
            ("", *(f"#{label}" for label in labels)),
            ((before, *(moves.get((before, after), 0) for after in labels)) for before in labels),
        )
        return
    changed = sorted(((n, pair) for pair, n in moves.items() if pair[0] != pair[1]), reverse=True)
    print_table(
        ("before", "after", "#rows"),
        ((before, after, rows) for rows, (before, after) in changed[:LISTED_MOVES]),
    )
    if len(changed) > LISTED_MOVES:
        say(f"and {len(changed) - LISTED_MOVES:,} more moves: see --json")


def _print_rows(found: "Comparison") -> None:
    ids = list(found.moved_most[0].ids)
    print_table(
        (*ids, "source file", "#row", "before", "#score", "after", "#score", "#shift"),
        (
            (
                *(row.ids[name] for name in ids),
                row.source_file,
                row.source_row,
                row.label_a,
                f"{row.score_a:.4f}",
                row.label_b,
                f"{row.score_b:.4f}",
                _signed(row.shift) or f"≥ {row.moved:.4f}",
            )
            for row in found.moved_most
        ),
    )


def _signed(value: float | None) -> str | None:
    return None if value is None else f"{value:+.4f}"
