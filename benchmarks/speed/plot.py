"""A run as a picture: documents per second of every contender, with their spread."""

from pathlib import Path

from benchmarks.speed.figures import Run, quiet

COLORS = {
    "ours": "#1b6ca8",
    "pipeline": "#b9b9b9",
    "sorted pipeline": "#b9b9b9",
    "loop": "#d9a05b",
    "onnxruntime": "#7fa99b",
    "openvino": "#7fa99b",
}


def draw(run: Run, path: Path) -> None:
    """Write bars as SVG, the fastest on top; a line from the slowest round to the fastest."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: small, and searchable
    matplotlib.rcParams["svg.hashsalt"] = "bulkscore"  # the same figures make the same file
    from matplotlib import pyplot

    ran = sorted(run.ran(), key=lambda entrant: run.documents_a_second(entrant.name))
    rates = [run.documents_a_second(entrant.name) for entrant in ran]
    spreads = [_spread(run, entrant.name) for entrant in ran]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.3 * len(ran)), layout="constrained")
    bars = axes.barh(
        [entrant.title.replace("**", "") for entrant in ran],
        rates,
        color=[COLORS[entrant.group] for entrant in ran],
        xerr=list(zip(*_around(rates, spreads), strict=True)),
        ecolor="#444444",
    )
    axes.bar_label(bars, [f"{rate:.0f}" for rate in rates], padding=4)
    axes.set_xlabel(f"documents per second, {run.model}, {run.threads} threads")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _spread(run: Run, contender: str) -> tuple[float, float]:
    rates = [run.corpus.documents / s.seconds for s in quiet(run.of(contender))]
    return min(rates), max(rates)


def _around(rates: list[float], spreads: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return how far the spread reaches below and above each rate."""
    return [(rate - low, high - rate) for rate, (low, high) in zip(rates, spreads, strict=True)]
