"""A comparison as one HTML file with pictures, without the text of any row."""

from collections.abc import Iterator
from typing import Any

from producer.agreement import Share
from producer.compare_record import ComparedModel, Comparison
from schemas import __version__
from schemas.report_page import ACCENT, INK, PALE, draw_matrix, drawn, head, page, pictures, table
from schemas.report_page import tiles as in_tiles

MOST_MOVES = 30


def html_report(found: Comparison) -> str:
    """Return the report of a comparison, a whole HTML document."""
    title = f"{found.b.model} beside {found.a.model}"
    parts = (_head, _tiles, _pictures, _moves, _rows, _errors)
    return page(title, (line for part in parts for line in part(found)))


def _head(found: Comparison) -> Iterator[str]:
    yield from head(
        f"{_name(found.b)} beside {_name(found.a)}",
        f"before: job {found.a.job_id}, {found.a.output}, digest {found.a.model_digest[:16]}",
        f"after: job {found.b.job_id}, {found.b.output}, digest {found.b.model_digest[:16]}",
        f"{found.rows:,} rows in both, {found.rows_only_a:,} only before, {found.rows_only_b:,} "
        f"only after · compared with bulkscore {__version__}",
    )


def _tiles(found: Comparison) -> Iterator[str]:
    shown = [("rows compared", f"{found.rows_compared:,}", f"of {found.rows:,} in both")]
    if found.agreement is not None:
        shown.append(("same label", *_share(found.agreement)))
    if found.kappa is not None:
        shown.append(("kappa", f"{found.kappa:.3f}", "agreement beyond chance"))
    if found.shift.mean is not None and found.shift.mean_absolute is not None:
        magnitude = f"mean magnitude {found.shift.mean_absolute:.5f}"
        shown.append(("mean score shift", f"{found.shift.mean:+.5f}", magnitude))
    yield from in_tiles(shown)


def _pictures(found: Comparison) -> Iterator[str]:
    shown = []
    if found.label_moves:
        caption = "Rows are the label before, columns the label after; shares are of a row."
        shown.append(("Label moves", caption, drawn(_draw_moves, found)))
    if found.shift.rows:
        caption = (
            "Change in the probability of the label that a row had before, or in its value; "
            f"known of {found.shift.rows:,} rows."
        )
        shown.append(("Score shift", caption, drawn(_draw_shift, found)))
    if shown:
        yield from pictures(shown)


def _moves(found: Comparison) -> Iterator[str]:
    changed = sorted(
        (move for move in found.label_moves if move.before != move.after),
        key=lambda move: -move.rows,
    )
    rows = [(m.before, m.after, f"{m.rows:,}") for m in changed[:MOST_MOVES]]
    if rows:
        yield from table("Labels that changed", ("before", "after", "#rows"), rows)


def _rows(found: Comparison) -> Iterator[str]:
    if not found.moved_most:
        return
    ids = list(found.moved_most[0].ids)
    yield from table(
        "Rows that moved most",
        (*ids, "source file", "#row", "before", "#score", "after", "#score", "#shift"),
        [
            (
                *(str(row.ids[name]) for name in ids),
                *(row.source_file, str(row.source_row)),
                *(row.label_a or "", f"{row.score_a:.4f}", row.label_b or "", f"{row.score_b:.4f}"),
                f"≥ {row.moved:.4f}" if row.shift is None else f"{row.shift:+.4f}",
            )
            for row in found.moved_most
        ],
    )


def _errors(found: Comparison) -> Iterator[str]:
    rows = [(e.before or "scored", e.after or "scored", f"{e.rows:,}") for e in found.errors]
    if rows:
        yield from table("Rows not scored by both", ("before", "after", "#rows"), rows)


def _draw_moves(axes: Any, found: Comparison) -> None:
    moves = {(move.before, move.after): move.rows for move in found.label_moves}
    before, after = (sorted({pair[place] for pair in moves}) for place in (0, 1))
    draw_matrix(axes, before, after, [[moves.get((b, a), 0) for a in after] for b in before])
    axes.set(xlabel="after", ylabel="before")


def _draw_shift(axes: Any, found: Comparison) -> None:
    shift = found.shift
    axes.stairs(shift.histogram, shift.edges, fill=True, color=ACCENT)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yscale("symlog", linthresh=10)  # most rows hardly move, the few that do matter
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="score shift", ylabel="rows")
    axes.grid(axis="y", color=PALE, alpha=0.25)


def _share(share: Share) -> tuple[str, str]:
    if share.share is None or share.low is None or share.high is None:
        return "-", "no row"
    return f"{share.share:.2%}", f"95 % interval {share.low:.2%} to {share.high:.2%}"


def _name(model: ComparedModel) -> str:
    return f"{model.model} ({model.name})" if model.name else model.model
