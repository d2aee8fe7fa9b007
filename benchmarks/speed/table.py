"""A run as tables: aligned columns for a terminal, Markdown for the docs."""

from collections.abc import Iterator, Sequence

from benchmarks.speed.figures import Entrant, Run, is_quiet
from benchmarks.speed.targets import targets

COLUMNS = (
    "",
    "documents/s",
    "by CPU second",
    "tokens/s",
    "useful GFLOP/s",
    "of the peak",
    "peak RSS, MB",
    "× best pipeline",  # noqa: RUF001
    "× ours, fp32",  # noqa: RUF001
    "same labels",
)

Row = Sequence[str]


def page(run: Run, *, markdown: bool = False) -> str:
    """Return everything that a run says: how it was made, the table, and the targets."""
    draw = _markdown if markdown else _aligned
    parts = [
        *_head(run),
        "",
        *draw([COLUMNS, *(_row(run, entrant) for entrant in run.ran())]),
        "",
        *_notes(run),
    ]
    held = [("target", "wanted", "measured", "")]
    for target in targets(run):
        verdict = "met" if target.met else "missed"
        held.append((target.what, f"{target.wanted:g}", target.figure, verdict))
    if len(held) > 1:
        parts += ["", *draw(held)]
    return "\n".join(parts)


def _head(run: Run) -> Iterator[str]:
    corpus = run.corpus
    rounds = 1 + max((slice_.round for slice_ in run.slices), default=-1)
    yield f"{run.model}, {rounds} rounds of {corpus.documents:,} documents ({corpus.source}):"
    yield (
        f"{corpus.tokens / corpus.documents:.0f} tokens each, median {corpus.median_tokens:.0f}, "
        f"p90 {corpus.p90_tokens:.0f}, {corpus.truncated:.0%} truncated; "
        f"{corpus.useful_gflop / corpus.documents:.2f} useful GFLOP each."
    )
    yield f"{run.machine}, {run.cores} cores, {run.threads} threads each; {run.date}."
    yield ", ".join(f"{name} {version}" for name, version in run.versions.items()) + "."
    yield f"Command: `{run.command}`"


def _notes(run: Run) -> Iterator[str]:
    peaks = [(p, run.peak_gflops(p)) for p in ("fp32", "bf16", "int8")]
    known = ", ".join(f"{name} {rate:.0f}" for name, rate in peaks if rate)
    yield f"Matrix peak in GFLOP/s, measured in the same run: {known or 'not measured'}."
    loaded = [slice_ for slice_ in run.slices if not is_quiet(slice_)]
    if loaded:
        yield (
            f"Other programs disturbed {len(loaded)} of {len(run.slices)} slices; they count only "
            "where a contender has no other (marked with *)."
        )
    for entrant in run.entrants:
        if entrant.skipped:
            yield f"Left out: {_plain(entrant.title)} ({entrant.skipped})."


def _row(run: Run, entrant: Entrant) -> Row:
    name, peak = entrant.name, run.peak_gflops(entrant.precision)
    disturbed = not any(map(is_quiet, run.of(name)))
    best, ours = run.best("pipeline"), {e.name for e in run.ran("ours")}
    gflops = run.useful_gflops(name)
    return (
        entrant.title,
        f"{run.documents_a_second(name):.1f}{'*' if disturbed else ''}",
        f"{run.documents_a_cpu_second(name):.1f}",
        f"{run.tokens_a_second(name):,.0f}",
        f"{gflops:.0f}",
        f"{gflops / peak:.0%} of {entrant.precision}" if peak else "",
        f"{run.peak_rss_mb(name):,.0f}",
        str(run.faster(name, best)) if best else "",
        str(run.faster(name, "ours-fp32")) if "ours-fp32" in ours else "",
        "" if entrant.same_labels is None else f"{entrant.same_labels:.1%}",
    )


def _plain(title: str) -> str:
    return title.replace("**", "")


def _aligned(rows: Sequence[Row]) -> Iterator[str]:
    plain = [[_plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    for first, *others in plain:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells)).rstrip()


def _markdown(rows: Sequence[Row]) -> Iterator[str]:
    head, *body = rows
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in body)
