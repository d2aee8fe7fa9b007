"""Writes the tables and pictures of docs/performance.md anew from what runs have stored.

    python -m benchmarks.page

A block of the page between `<!-- NAME -->` and `<!-- /NAME -->` is made of docs/figures/NAME.json,
where there is one.
"""

import json
from pathlib import Path

from benchmarks import agreement, whole_jobs
from benchmarks.speed.corpus import REPOSITORY
from benchmarks.speed.figures import Run
from benchmarks.speed.plot import draw
from benchmarks.speed.table import page

PAGE = REPOSITORY / "docs" / "performance.md"
FIGURES = REPOSITORY / "docs" / "figures"
SPEED = ("minilm", "bert-base")


def main() -> None:
    """Replace each block of which there are figures."""
    text = PAGE.read_text(encoding="utf-8")
    for path in sorted(FIGURES.glob("*.json")):
        begin, end = f"<!-- {path.stem} -->", f"<!-- /{path.stem} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{block(path)}\n{end}{after}"
    PAGE.write_text(text, encoding="utf-8")


def block(path: Path) -> str:
    """Return the block of a file of figures; draws its picture beside it."""
    if path.stem in SPEED:
        run = Run.read(path)
        draw(run, path.with_suffix(".svg"))
        picture = f"![Documents per second](figures/{path.stem}.svg)"
        return f"{page(run, markdown=True)}\n\n{picture}"
    if path.stem == "jobs":
        return "\n".join(whole_jobs.table(*whole_jobs.read_jobs(path)))
    return "\n".join(agreement.table(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
