"""The curves of a training as a picture: losses, and metrics of the validation data."""

import io
from collections.abc import Sequence
from typing import Any

_VALIDATION = "eval_"
_NOT_METRICS = frozenset(
    {"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}
)
FEW_POINTS = 20  # each of which is marked


def draw_curves(history: Sequence[dict[str, Any]]) -> bytes:
    """Return an SVG of what Trainer logged, the same for the same history."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "bulkscore", "svg.fonttype": "none", "font.size": 9}):
        from matplotlib.figure import Figure

        names = metric_names(history)
        figure = Figure(figsize=(8 if names else 4.5, 3), layout="constrained")
        panels = figure.subplots(1, 2 if names else 1, squeeze=False)[0]
        _panel(panels[0], "loss", {"training": "loss", "validation": "eval_loss"}, history)
        if names:
            of_names = {name: f"{_VALIDATION}{name}" for name in names}
            _panel(panels[1], "validation", of_names, history)
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def metric_names(history: Sequence[dict[str, Any]]) -> list[str]:
    """Return the metrics that were measured on validation data, the loss not among them."""
    found = {
        name.removeprefix(_VALIDATION): None
        for entry in history
        for name in entry
        if name.startswith(_VALIDATION)
    }
    return [name for name in found if name not in _NOT_METRICS]


def _panel(
    axes: Any, title: str, series: dict[str, str], history: Sequence[dict[str, Any]]
) -> None:
    for label, key in series.items():
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
        if points:
            mark = "." if len(points) < FEW_POINTS else ""
            axes.plot(*zip(*points, strict=True), marker=mark, linewidth=1, label=label)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
