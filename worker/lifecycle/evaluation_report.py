"""An evaluation as one HTML file that needs nothing else: no script, no network, no row's text."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from worker.lifecycle.evaluation_plots import plots
from worker.lifecycle.evaluation_text import between, figure, megabytes, method, percent

Record = dict[str, Any]

_STYLE = """
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


def html_report(found: Record) -> str:
    """Return the report of an evaluation, a whole HTML document."""
    title = f"Evaluation of {found['model']['ref']}"
    parts = (_head, _tiles, _gate, _plots, _quality, _robustness, _slices, _stability, _settings)
    body = "\n".join(line for part in parts for line in part(found))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f'</title><meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _head(found: Record) -> Iterator[str]:
    model, data = found["model"], found["data"]
    yield f"<h1>{escape(model['ref'])}</h1>"
    yield (
        f'<p class="quiet">{escape(model["model_type"])} · {model["problem"]} · '
        f"{len(model['labels'])} labels · digest {model['digest'][:16]} · evaluated "
        f"{found['at']} with bulkscore {found['bulkscore']}</p>"
    )
    lost = f", {data['unscored_rows']:,} of them not scored" if data["unscored_rows"] else ""
    files = ", ".join(map(escape, data["files"]))
    yield f'<p class="quiet">{data["rows"]:,} rows{lost}, from {files}</p>'


def _tiles(found: Record) -> Iterator[str]:
    quality, intervals = found["quality"], found["intervals"]
    names = ("accuracy", "macro_f1", "roc_auc", "jaccard", "micro_f1", "mae", "rmse", "spearman")
    tiles = [
        (name.replace("_", " "), figure(quality[name]), between(intervals.get(name)))
        for name in names
        if quality.get(name) is not None
    ]
    if it := found["calibration"]:
        tiles.append(("ECE", figure(it["ece"]), f"by chance below {it['ece_by_chance']:.4f}"))
    if it := found.get("efficiency"):
        where = f"{it['device']}, {it['dtype']}, {it['threads']} threads"
        tiles.append(("documents/s", f"{it['documents_per_second']:,.1f}", where))
    yield '<div class="tiles">'
    for name, value, more in tiles:
        shown = f'{name}<b>{value}</b><span class="quiet">{escape(more)}</span>'
        yield f'<div class="tile">{shown}</div>'
    yield "</div>"


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
    yield from _table("Gate", ("metric", "asked", "#value", "#baseline", "result"), rows)


def _plots(found: Record) -> Iterator[str]:
    yield '<h2>Pictures</h2><div class="plots">'
    for title, caption, svg in plots(found):
        yield f"<figure><figcaption>{title}</figcaption>{svg}"
        yield f'<p class="quiet">{caption}</p></figure>'
    yield "</div>"


def _quality(found: Record) -> Iterator[str]:
    quality, intervals = found["quality"], found["intervals"]
    rows = [
        (name, figure(value), between(intervals.get(name)), method(intervals.get(name)))
        for name, value in quality.items()
        if not isinstance(value, dict | list) and value is not None
    ]
    yield from _table("Quality", ("metric", "#value", "95 % interval", "of"), rows)
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
        yield from _table("Labels", columns, labels)
    if it := found["calibration"]:
        sure = [
            (name, *(figure(it[when][key]) for when in ("before", "after")))
            for name, key in (("ECE", "ece"), ("Brier score", "brier"), ("log loss", "log_loss"))
        ]
        temperature = f"with temperature {it['temperature']:.3f}"
        yield from _table("Calibration, held-out half", ("", "#as it is", f"#{temperature}"), sure)
    wrong = [(m["place"], m["asked"], m["said"], figure(m["score"])) for m in found["mistakes"]]
    if wrong:
        yield from _table("Surest mistakes", ("file and row", "asked", "said", "#score"), wrong)


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
        yield from _table("Robustness", columns, rows)


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
        yield from _table("Slices", ("by", "", "#rows", "metric", "#value", "95 %", ""), rows)


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
        yield from _table(baseline, ("metric", "#worse by", "95 %", "#same labels"), rows)
    if it := found.get("stability"):
        keys = ("mean", "deviation", "smallest", "largest")
        rows = [(name, *(figure(each[k]) for k in keys)) for name, each in it["metrics"].items()]
        columns = ("metric", *(f"#{key}" for key in keys))
        yield from _table(f"{len(it['models'])} seeds of training", columns, rows)


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
    yield from _table("How it was measured", ("", ""), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
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
