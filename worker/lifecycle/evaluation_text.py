"""An evaluation as lines of text that a person reads."""

from collections.abc import Iterator, Sequence
from typing import Any

from worker.lifecycle.activations import mean_of

Record = dict[str, Any]

LABELS_SHOWN = 20


def evaluation_lines(found: Record) -> Iterator[str]:
    """Yield the lines of an evaluation, the gate last."""
    parts = (_quality, _calibration, _efficiency, _robustness, _slices, _others, _gate)
    yield from _facts(found)
    for part in parts:
        lines = list(part(found))
        if lines:
            yield ""
            yield from lines


def _facts(found: Record) -> Iterator[str]:
    model, data = found["model"], found["data"]
    yield _fact("model", f"{model['ref']}  {model['model_type']}, digest {model['digest'][:12]}")
    yield _fact("data", f"{data['rows']:,} rows, {data['tokens']:,} tokens")
    if data["unscored_rows"]:
        codes = ", ".join(f"{code} {rows:,}" for code, rows in data["errors"].items())
        yield _fact("  not scored", f"{data['unscored_rows']:,}: {codes}")


def _quality(found: Record) -> Iterator[str]:
    quality, intervals = found["quality"], found["intervals"]
    yield from table(
        ("quality", "#value", "95 % interval", "of"),
        [
            (name, figure(value), between(intervals.get(name)), method(intervals.get(name)))
            for name, value in quality.items()
            if not isinstance(value, dict | list) and value is not None
        ],
    )
    labels = list(quality["labels"].items())
    if not labels:
        return
    yield ""
    yield from table(
        ("label", "#precision", "#recall", "", "#f1", "#rows", "#roc auc", "#pr auc"),
        [
            (
                *(name, figure(each["precision"]), figure(each["recall"])),
                between(intervals.get(f"labels.{name}.recall")),
                *(figure(each["f1"]), f"{each['support']:,}"),
                *(figure(each["roc_auc"]), figure(each["pr_auc"])),
            )
            for name, each in labels[:LABELS_SHOWN]
        ],
    )
    if len(labels) > LABELS_SHOWN:
        yield f"… and {len(labels) - LABELS_SHOWN:,} more labels"


def _calibration(found: Record) -> Iterator[str]:
    if (it := found["calibration"]) is None:
        return
    yield _fact("calibration", f"ECE {it['ece']:.4f}, by chance below {it['ece_by_chance']:.4f}")
    yield _fact("  Brier, log loss", f"{it['brier']:.4f}, {it['log_loss']:.4f}")
    yield _fact(
        "  temperature",
        f"{it['temperature']:.3f} (fitted on {it['fitted_rows']:,} rows), of the others "
        f"ECE {it['before']['ece']:.4f} -> {it['after']['ece']:.4f}, "
        f"log loss {it['before']['log_loss']:.4f} -> {it['after']['log_loss']:.4f}",
    )


def _efficiency(found: Record) -> Iterator[str]:
    if (it := found.get("efficiency")) is None:
        return
    yield _fact(
        "efficiency",
        f"{it['documents_per_second']:,.1f} documents/s, {it['tokens_per_second']:,.0f} tokens/s "
        f"(median of {it['passes']} passes over {it['documents']:,})",
    )
    p50, p95 = 1000 * it["latency_p50_seconds"], 1000 * it["latency_p95_seconds"]
    yield _fact("  one at a time", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    yield _fact(
        "  size",
        f"{it['parameters']:,} parameters, {megabytes(it['model_bytes'])} on disk, "
        f"{megabytes(it['peak_memory_bytes'])} of memory at most",
    )
    yield _fact(
        "  measured on",
        f"{it['device']} ({it['device_name']}), {it['dtype']}, {it['threads']} threads",
    )
    if layers := found.get("activations"):
        yield _fact(
            "  idle activations",
            f"{percent(mean_of(layers, 'negligible'))} of the feed-forward part, in no token of a "
            f"text {percent(mean_of(layers, 'skippable'))}",
        )


def _robustness(found: Record) -> Iterator[str]:
    effects = found.get("robustness")
    if not effects:
        return
    yield from table(
        ("robustness", "#texts", "#flip rate", "", "by seed", "#drop", ""),
        [
            (
                *(name, f"{each['texts']:,}", percent(each["flip_rate"])),
                between(each["flip_rate_interval"], as_percent=True),
                " ".join(percent(rate) for rate in each["flip_rate_by_seed"]),
                *(figure(each["drop"]), between(each["drop_interval"])),
            )
            for name, each in effects.items()
        ],
    )


def _slices(found: Record) -> Iterator[str]:
    rows = [
        (
            *(f"{by}: {name}", f"{each['rows']:,}"),
            *(figure(each["value"]), between(each["interval"])),
            "too few to judge by" if each["too_small"] else "worse" * each["worse"],
        )
        for by, parts in found.get("slices", {}).items()
        for name, each in parts.items()
    ]
    if rows:
        metric = next(each["metric"] for s in found["slices"].values() for each in s.values())
        yield from table(("slice", "#rows", f"#{metric}", "", ""), rows)


def _beside(efficiency: Record | None, baseline: Record | None) -> Iterator[str]:
    """Say how fast and how large the baseline was on the same machine."""
    if efficiency is None or baseline is None:
        return
    speed, size = baseline["documents_per_second"], baseline["model_bytes"]
    yield _fact(
        "  beside it",
        f"{efficiency['documents_per_second'] / speed:.2f} times its {speed:,.1f} documents/s, "
        f"{percent(efficiency['model_bytes'] / size)} of its {megabytes(size)}",
    )


def _others(found: Record) -> Iterator[str]:
    if it := found.get("comparison"):
        agreement = "" if it["agreement"] is None else f", same labels {percent(it['agreement'])}"
        yield _fact(
            "baseline",
            f"{found['baseline']['model']['ref']}: {it['metric']} is {figure(it['drop'])} worse "
            f"{between(it['drop_interval'])}{agreement}",
        )
        yield from _beside(found.get("efficiency"), found["baseline"].get("efficiency"))
    if it := found.get("stability"):
        yield from table(
            (f"{len(it['models'])} seeds", "#mean", "#deviation", "#smallest", "#largest"),
            [
                (name, *(figure(each[k]) for k in ("mean", "deviation", "smallest", "largest")))
                for name, each in it["metrics"].items()
            ],
        )
        if it["agreement"] is not None:
            yield _fact("same labels", f"{percent(it['agreement'])} of rows, mean over pairs")


def _gate(found: Record) -> Iterator[str]:
    if found.get("gate"):
        yield from table(
            ("gate", "asked", "#value", "#baseline", ""),
            [
                (
                    *(each["metric"], each["asked"], figure(each["value"])),
                    *(figure(each["baseline"]), "passed" if each["passed"] else "FAILED"),
                )
                for each in found["gate"]
            ],
        )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; a column whose name begins with `#` is aligned to the right."""
    names = [name.removeprefix("#") for name in columns]
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    for cells in (names, *rows):
        aligned = (
            cell.rjust(width) if name.startswith("#") else cell.ljust(width)
            for cell, width, name in zip(cells, widths, columns, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def figure(value: float | None) -> str:
    """Return a number with four digits behind the point, a dash where there is none."""
    return "-" if value is None else f"{value:,.4f}"


def percent(value: float | None) -> str:
    """Return a share."""
    return "-" if value is None else f"{value:.1%}"


def between(interval: Record | None, *, as_percent: bool = False) -> str:
    """Return the ends of an interval."""
    if interval is None:
        return ""
    shown = percent if as_percent else figure
    return f"{shown(interval['low'])} to {shown(interval['high'])}"


def method(interval: Record | None) -> str:
    """Return where an interval is from."""
    if interval is None:
        return ""
    return f"bootstrap of {interval['resamples']:,}" if interval["resamples"] else "Wilson"


def megabytes(count: float) -> str:
    """Return bytes as megabytes."""
    return f"{count / 1e6:,.1f} MB"


def _fact(name: str, value: str) -> str:
    return f"{name:<17}  {value}".rstrip()
