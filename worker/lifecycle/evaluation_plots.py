"""Pictures of an evaluation as SVG, made of its record alone."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np

from schemas.report_page import ACCENT, HEIGHT, INK, PALE, WARNING, draw_matrix, drawn
from worker.lifecycle.data_warnings import WIDE_LABEL

Record = dict[str, Any]

MOST_SLICES = 30


def plots(found: Record) -> Iterator[tuple[str, str, str]]:
    """Yield the pictures that the record has figures for: title, what it shows, and SVG."""
    if found["quality"]["confusion"]:
        yield (
            "Confusion",
            "Rows are what was asked, columns what the model said; shares are of a row.",
            drawn(_confusion, found),
        )
    if found["calibration"]:
        yield (
            "Reliability",
            "How often the model is right where it is as sure as below; on the line it is as "
            "right as it is sure. Every point has the same number of rows.",
            drawn(_reliability, found),
        )
    if found["curves"]:
        yield "ROC", "Each label against the others.", drawn(_roc, found)
        yield "Precision and recall", "Each label against the others.", drawn(_pr, found)
    if any(each["flip_rate"] is not None for each in found.get("robustness", {}).values()):
        yield (
            "Labels that flip",
            "Share of the texts that a perturbation changes whose label is then another, with "
            "95 % interval. Pale: too few texts to judge by.",
            drawn(_flips, found),
        )
    if found.get("slices"):
        yield (
            "Slices",
            "Pale: too few rows to judge by. The line is the whole data.",
            drawn(_slices, found),
        )


def _confusion(axes: Any, found: Record) -> None:
    labels, table = found["model"]["labels"], np.array(found["quality"]["confusion"])
    said = [*labels, "no score"] if table[:, -1].any() else labels
    table = table[:, : len(said)]
    draw_matrix(axes, labels, said, table.tolist())
    axes.set(xlabel="said", ylabel="asked")


def _reliability(axes: Any, found: Record) -> None:
    bins = found["calibration"]["reliability"]
    sure = [each["confidence"] for each in bins]
    low = min([*sure, *(each["right"] for each in bins)])
    axes.plot((low, 1), (low, 1), color=PALE, linewidth=1)
    axes.plot(sure, [each["right"] for each in bins], color=ACCENT, marker="o", markersize=4)
    axes.set(xlabel="confidence", ylabel="share right")
    axes.grid(color=PALE, alpha=0.25)


def _roc(axes: Any, found: Record) -> None:
    axes.plot((0, 1), (0, 1), color=PALE, linewidth=1)
    _lines(axes, found, "roc", "roc_auc")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")


def _pr(axes: Any, found: Record) -> None:
    _lines(axes, found, "pr", "pr_auc")
    axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))


def _lines(axes: Any, found: Record, curve: str, area: str) -> None:
    for name, curves in found["curves"].items():
        x, y = zip(*curves[curve], strict=True)
        value = found["quality"]["labels"][name][area]
        axes.plot(x, y, linewidth=1.4, label=f"{name} ({value:.3f})")
    axes.legend(frameon=False, title="label (area)")
    axes.grid(color=PALE, alpha=0.25)


def _flips(axes: Any, found: Record) -> None:
    effects = {n: e for n, e in found["robustness"].items() if e["flip_rate"] is not None}
    places = range(len(effects))
    for place, each in zip(places, effects.values(), strict=True):
        interval = each["flip_rate_interval"]
        few = interval["high"] - interval["low"] > 2 * WIDE_LABEL
        axes.barh(place, each["flip_rate"], color=PALE if few else ACCENT, height=0.6)
        axes.plot((interval["low"], interval["high"]), (place, place), color=INK, linewidth=1.2)
        axes.text(interval["high"], place, f"  {each['flip_rate']:.1%}", va="center")
    axes.set_yticks(places, [f"{n} ({e['texts']:,})" for n, e in effects.items()])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes.set(xlabel="labels that flip (texts)")


def _slices(axes: Any, found: Record) -> None:
    parts = [
        (f"{by}: {name} ({each['rows']:,})", each)
        for by, some in found["slices"].items()
        for name, each in some.items()
        if each["value"] is not None
    ][:MOST_SLICES]
    axes.figure.set_figheight(max(HEIGHT, 0.9 + 0.28 * len(parts)))
    metric = parts[0][1]["metric"]
    whole = found["quality"].get(metric)
    if whole is not None:
        axes.axvline(whole, color=PALE, linewidth=1)
    for place, (_, each) in enumerate(parts):
        color = PALE if each["too_small"] else WARNING if each["worse"] else ACCENT
        if interval := each["interval"]:
            axes.plot((interval["low"], interval["high"]), (place, place), color=color)
        axes.plot(each["value"], place, color=color, marker="o", markersize=5)
    axes.set_yticks(range(len(parts)), [name for name, _ in parts])
    axes.invert_yaxis()
    axes.grid(axis="x", color=PALE, alpha=0.25)
    axes.set(xlabel=metric)
