"""An evaluation as one HTML file that needs nothing else: no script, no network, no row's text."""

from collections.abc import Iterator
from typing import Any

from schemas.report_page import head, page, pictures, table, tiles
from worker.lifecycle.evaluation_plots import plots
from worker.lifecycle.evaluation_text import between, figure, megabytes, method, percent

Record = dict[str, Any]


def html_report(found: Record) -> str:
    """Return the report of an evaluation, a whole HTML document."""
    title = f"Evaluation of {found['model']['ref']}"
    parts = (_head, _tiles, _gate, _plots, _quality, _robustness, _slices, _stability, _settings)
    return page(title, (line for part in parts for line in part(found)))


def _head(found: Record) -> Iterator[str]:
    model, data = found["model"], found["data"]
    lost = f", {data['unscored_rows']:,} of them not scored" if data["unscored_rows"] else ""
    yield from head(
        model["ref"],
        f"{model['model_type']} · {model['problem']} · {len(model['labels'])} labels · digest "
        f"{model['digest'][:16]} · evaluated {found['at']} with bulkscore {found['bulkscore']}",
        f"{data['rows']:,} rows{lost}, from {', '.join(data['files'])}",
    )


def _tiles(found: Record) -> Iterator[str]:
    quality, intervals = found["quality"], found["intervals"]
    names = ("accuracy", "macro_f1", "roc_auc", "jaccard", "micro_f1", "mae", "rmse", "spearman")
    shown = [
        (name.replace("_", " "), figure(quality[name]), between(intervals.get(name)))
        for name in names
        if quality.get(name) is not None
    ]
    if it := found["calibration"]:
        shown.append(("ECE", figure(it["ece"]), f"by chance below {it['ece_by_chance']:.4f}"))
    if it := found.get("efficiency"):
        where = f"{it['device']}, {it['dtype']}, {it['threads']} threads"
        shown.append(("documents/s", f"{it['documents_per_second']:,.1f}", where))
    yield from tiles(shown)


def _gate(found: Record) -> Iterator[str]:
    if not found.get("gate"):
        return
    rows = [
        (
            *(each["metric"], each["asked"], figure(each["value"]), figure(each["baseline"])),
            "passed" if each["passed"] else f"FAILED: {each['problem']}",
        )
        for each in found["gate"]
    ]
    yield from table("Gate", ("metric", "asked", "#value", "#baseline", "result"), rows)


def _plots(found: Record) -> Iterator[str]:
    yield from pictures(plots(found))


def _quality(found: Record) -> Iterator[str]:
    quality, intervals = found["quality"], found["intervals"]
    rows = [
        (name, figure(value), between(intervals.get(name)), method(intervals.get(name)))
        for name, value in quality.items()
        if not isinstance(value, dict | list) and value is not None
    ]
    yield from table("Quality", ("metric", "#value", "95 % interval", "of"), rows)
    labels = [
        (
            *(name, figure(each["precision"]), figure(each["recall"]), figure(each["f1"])),
            between(intervals.get(f"labels.{name}.f1")),
            *(f"{each['support']:,}", figure(each["roc_auc"]), figure(each["pr_auc"])),
        )
        for name, each in quality["labels"].items()
    ]
    columns = ("label", "#precision", "#recall", "#F1", "95 %", "#rows", "#ROC AUC", "#PR AUC")
    if labels:
        yield from table("Labels", columns, labels)
    if it := found["calibration"]:
        sure = [
            (name, *(figure(it[when][key]) for when in ("before", "after")))
            for name, key in (("ECE", "ece"), ("Brier score", "brier"), ("log loss", "log_loss"))
        ]
        temperature = f"with temperature {it['temperature']:.3f}"
        yield from table("Calibration, held-out half", ("", "#as it is", f"#{temperature}"), sure)
    wrong = [(m["place"], m["asked"], m["said"], figure(m["score"])) for m in found["mistakes"]]
    if wrong:
        yield from table("Surest mistakes", ("file and row", "asked", "said", "#score"), wrong)


def _robustness(found: Record) -> Iterator[str]:
    rows = [
        (
            *(name, f"{each['texts']:,} of {each['tried']:,}", percent(each["flip_rate"])),
            between(each["flip_rate_interval"], as_percent=True),
            " ".join(percent(rate) for rate in each["flip_rate_by_seed"]),
            *(figure(each["drop"]), between(each["drop_interval"])),
        )
        for name, each in found.get("robustness", {}).items()
    ]
    columns = ("", "#texts changed", "#flip rate", "95 %", "by seed", "#metric drop", "95 %")
    if rows:
        yield from table("Robustness", columns, rows)


def _slices(found: Record) -> Iterator[str]:
    rows = [
        (
            *(by, name, f"{each['rows']:,}", each["metric"], figure(each["value"])),
            between(each["interval"]),
            "too few to judge by" if each["too_small"] else "worse" * each["worse"],
        )
        for by, parts in found.get("slices", {}).items()
        for name, each in parts.items()
    ]
    if rows:
        yield from table("Slices", ("by", "", "#rows", "metric", "#value", "95 %", ""), rows)


def _stability(found: Record) -> Iterator[str]:
    if it := found.get("comparison"):
        rows = [
            (
                it["metric"],
                figure(it["drop"]),
                between(it["drop_interval"]),
                percent(it["agreement"]),
            )
        ]
        baseline = f"Baseline {found['baseline']['model']['ref']}"
        yield from table(baseline, ("metric", "#worse by", "95 %", "#same labels"), rows)
    if it := found.get("stability"):
        keys = ("mean", "deviation", "smallest", "largest")
        rows = [(name, *(figure(each[k]) for k in keys)) for name, each in it["metrics"].items()]
        columns = ("metric", *(f"#{key}" for key in keys))
        yield from table(f"{len(it['models'])} seeds of training", columns, rows)


def _settings(found: Record) -> Iterator[str]:
    rows = []
    if it := found.get("efficiency"):
        rows += [
            ("tokens/s", f"{it['tokens_per_second']:,.0f}"),
            (
                "latency, one text at a time",
                f"p50 {1000 * it['latency_p50_seconds']:.1f} ms, p95 "
                f"{1000 * it['latency_p95_seconds']:.1f} ms",
            ),
            ("memory at most", megabytes(it["peak_memory_bytes"])),
            ("parameters", f"{it['parameters']:,}"),
            ("size on disk", megabytes(it["model_bytes"])),
            ("measured on", f"{it['device_name']}, median of {it['passes']} passes"),
        ]
    rows += [(name, str(value)) for name, value in found["settings"].items() if value is not None]
    rows += list(found["libraries"].items())
    yield from table("How it was measured", ("", ""), rows)
