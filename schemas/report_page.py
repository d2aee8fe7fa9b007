"""Reports as one HTML file that needs nothing else: no script, no network. One look for both sides.

Lines of HTML are yielded; all text that is given is escaped here, SVG is not.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from schemas.errors import InputMissing, OutputTaken

WIDTH, HEIGHT = 5.6, 3.6  # inches
MOST_CELLS = 12  # labels of a matrix that has its numbers written in
INK, ACCENT, PALE, WARNING = "#1f2933", "#2563a8", "#9aa5b1", "#c2410c"

_CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1180px; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #d9dee4; }
p { margin: .3rem 0; } .quiet { color: #5f6b7a; font-size: .88rem; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tile { border: 1px solid #d9dee4; border-radius: .5rem; padding: .6rem 1rem; min-width: 9rem; }
.tile b { display: block; font-size: 1.4rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1.6rem; }
figure { margin: 0; } figcaption { font-weight: 600; } figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #eef1f4; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: #c2410c; font-weight: 600; } .good { color: #15803d; font-weight: 600; }
"""

_PLOTS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, and searchable
    "svg.hashsalt": "bulkscore",  # the same figures make the same picture
    "text.parse_math": False,  # a dollar in a label is a dollar
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def require_place(report: Path | None) -> None:
    """Refuse a report that could not be written, before the work.

    Raises:
        OutputTaken: It is a folder.
        InputMissing: The folder that it would be in is not there.
    """
    if report is None:
        return
    if report.is_dir():
        raise OutputTaken(f"--report {report} is a folder: give the name of a file")
    if not report.parent.is_dir():
        raise InputMissing(f"--report {report}: there is no folder {report.parent}")


def page(title: str, lines: Iterable[str]) -> str:
    """Return a whole HTML document."""
    body = "\n".join(lines)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f'</title><meta name="viewport" content="width=device-width">'
        f"<style>{_CSS}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def head(title: str, *lines: str) -> Iterator[str]:
    """Yield a title with a few quiet lines below."""
    yield f"<h1>{escape(title)}</h1>"
    for line in lines:
        yield f'<p class="quiet">{escape(line)}</p>'


def tiles(found: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield what is looked at first: name, value, and what there is to say of it."""
    yield '<div class="tiles">'
    for name, value, more in found:
        shown = f'{escape(name)}<b>{escape(value)}</b><span class="quiet">{escape(more)}</span>'
        yield f'<div class="tile">{shown}</div>'
    yield "</div>"


def pictures(found: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield pictures: title, what it shows, and SVG."""
    yield '<h2>Pictures</h2><div class="plots">'
    for title, caption, svg in found:
        yield f"<figure><figcaption>{escape(title)}</figcaption>{svg}"
        yield f'<p class="quiet">{escape(caption)}</p></figure>'
    yield "</div>"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table under a title; a column whose name begins with `#` is aligned to the right."""
    kinds = [' class="n"' if name.startswith("#") else "" for name in columns]
    yield f'<h2>{escape(title)}</h2><div class="wide"><table><tr>'
    for name, kind in zip(columns, kinds, strict=True):
        yield f"<th{kind}>{escape(name.removeprefix('#'))}</th>"
    yield "</tr>"
    for cells in rows:
        yield "<tr>"
        for cell, kind in zip(cells, kinds, strict=True):
            marked = {"F": ' class="bad"', "w": ' class="bad"', "p": ' class="good"'}
            verdict = cell in ("passed", "worse") or cell.startswith("FAILED")
            yield f"<td{marked[cell[0]] if verdict else kind}>{escape(cell)}</td>"
        yield "</tr>"
    yield "</table></div>"


def drawn(draw: Callable[..., None], *given: Any) -> str:
    """Return what `draw(axes, *given)` draws, as SVG. Needs matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_PLOTS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has the letters of all scripts
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        draw(figure.add_subplot(), *given)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    text = svg.getvalue()
    return text[text.index("<svg") :]


def draw_matrix(
    axes: Any, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]
) -> None:
    """Draw a table of counts as shares of its rows; numbers are written in where there is room."""
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    few = len(rows) <= MOST_CELLS
    names = (list(each) if few else [""] * len(each) for each in (columns, rows))
    axes.set_xticks(range(len(columns)), next(names), rotation=30 * (len(columns) > 4))
    axes.set_yticks(range(len(rows)), next(names))
    axes.spines[:].set_visible(False)
    for y, row in enumerate(counts if few else ()):
        for x, count in enumerate(row):
            color = "white" if shares[y][x] > 0.6 else INK
            shown = f"{count:,}\n{shares[y][x]:.0%}"
            axes.text(x, y, shown, ha="center", va="center", color=color)
