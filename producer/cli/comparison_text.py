"""A comparison as text, for `compare` and `report`."""

from typing import TYPE_CHECKING

from producer.cli.terminal import print_facts, print_line, print_table, say

if TYPE_CHECKING:
    from producer.agreement import Share
    from producer.compare_record import ComparedModel, Comparison

# A matrix of more labels is printed as a list of its largest numbers.
MATRIX_LABELS = 12
LISTED_MOVES = 30


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
