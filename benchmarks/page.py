"""Writes the tables and pictures of the docs anew from what runs have stored.

    PYTHONPATH=tests python -m benchmarks.page

A block of a page between `<!-- NAME -->` and `<!-- /NAME -->` is made of docs/figures/NAME.json,
where there is one.
"""

import json
from pathlib import Path

from benchmarks import agreement, load, whole_jobs
from benchmarks.speed.corpus import REPOSITORY
from benchmarks.speed.figures import Run
from benchmarks.speed.plot import draw
from benchmarks.speed.table import page

PAGES = [REPOSITORY / "docs" / name for name in ("performance.md", "operations.md")]
FIGURES = REPOSITORY / "docs" / "figures"
SPEED = ("minilm", "bert-base")


def main() -> None:
    """Replace each block of which there are figures."""
    for page_file in PAGES:
        text = page_file.read_text(encoding="utf-8")
        for path in sorted(FIGURES.glob("*.json")):
            begin, end = f"<!-- {path.stem} -->", f"<!-- /{path.stem} -->"
            if begin not in text:
                continue
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(end)
            text = f"{before}{begin}\n{block(path)}\n{end}{after}"
        page_file.write_text(text, encoding="utf-8")


def block(path: Path) -> str:
    """Return the block of a file of figures; draws its picture beside it."""
    if path.stem in SPEED:
        run = Run.read(path)
        draw(run, path.with_suffix(".svg"))
        picture = f"![Documents per second](figures/{path.stem}.svg)"
        return f"{page(run, markdown=True)}\n\n{picture}"
    if path.stem == "jobs":
        return "\n".join(whole_jobs.table(*whole_jobs.read_jobs(path)))
    figures = json.loads(path.read_text(encoding="utf-8"))
    return load.page(figures) if path.stem == "load" else "\n".join(agreement.table(figures))


if __name__ == "__main__":
    main()
