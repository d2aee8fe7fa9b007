"""What became smaller, faster and worse: a model beside the one it was made from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.lifecycle.activations import mean_of
from worker.lifecycle.evaluation_text import between, figure, megabytes, percent, table

Found = Mapping[str, Any]

_COLUMNS = ("", "#before", "#after", "")


def lines(found: Found) -> Iterator[str]:
    """Yield the lines that a person reads."""
    yield from table(_COLUMNS, _rows(found))
    yield ""
    yield from _tries(found)
    if found.get("out"):
        yield ""
        yield f"{found['out']}"


def card(found: Found) -> str:
    """Return the model card, in Markdown."""
    return "\n".join(_card(found)) + "\n"


def _card(found: Found) -> Iterator[str]:
    parent, kept = found["parent"], found["kept"]
    yield from ("---", "library_name: transformers", "pipeline_tag: text-classification")
    yield f"base_model: {json.dumps(parent['ref'])}"
    yield from ("tags: [bulkscore]", "---", "")
    yield f"# {parent['name']}, {found['method']}"
    yield ""
    yield (
        f"Made from {parent['ref']} (digest {parent['digest']}) by `{found['method']}`: "
        f"{kept['size']:,} of {kept['whole']:,} {kept['unit']}. Asked for was {found['metric']} "
        f"at most {found['max_drop']:g} worse on {found['data']['rows']:,} labelled texts."
    )
    yield from ("", "| | before | after | |", "|---|---:|---:|---|")
    for name, before, after, more in _rows(found):
        yield f"| {name} | {before} | {after} | {more} |"
    after = found["after"]["efficiency"]
    yield ""
    yield (
        f"Measured on {after['device']} ({after['device_name']}), {after['threads']} threads, each "
        "model in a process of its own, turn by turn. The size was chosen by the same texts that "
        "quality is told of."
    )
    if found["method"] in ("int8", "prune-heads"):
        yield ""
        yield "Its weights are stored in a form of bulkscore's own, which transformers refuses."


def _rows(found: Found) -> list[tuple[str, str, str, str]]:
    sides = (found["before"], found["after"])
    speeds = [side["efficiency"] for side in sides]
    times = speeds[1]["documents_per_second"] / speeds[0]["documents_per_second"]
    smaller = speeds[1]["model_bytes"] / speeds[0]["model_bytes"]
    same = found["agreement"]["same_label"]
    metric = found["metric"]
    values = [side["quality"][metric] for side in sides]
    ranges = [between(side["intervals"].get(metric)) for side in sides]
    rows = [
        ("size on disk", *(megabytes(s["model_bytes"]) for s in speeds), f"x {smaller:.2f}"),
        ("parameters", *(f"{s['parameters']:,}" for s in speeds), ""),
        ("computed in", *(s["dtype"] for s in speeds), ""),
        (
            "documents/s",
            *(f"{s['documents_per_second']:,.1f}" for s in speeds),
            f"x {times:.2f}",
        ),
        ("latency p50", *(f"{1000 * s['latency_p50_seconds']:.1f} ms" for s in speeds), ""),
        ("peak memory", *(megabytes(s["peak_memory_bytes"]) for s in speeds), "whole process"),
        *_idle(sides),
        (
            metric,
            *(figure(value) for value in values),
            f"{figure(found['drop'])} worse {between(found['drop_interval'])}".rstrip(),
        ),
        ("  95 % interval", *ranges, ""),
        (
            "same label",
            "",
            "-" if same is None else percent(same),
            f"scores differ by {found['agreement']['largest_difference']:.4f} at most",
        ),
    ]
    return [(str(a), str(b), str(c), str(d)) for a, b, c, d in rows]


def _idle(sides: Sequence[Found]) -> Iterator[tuple[str, str, str, str]]:
    before, after = (side.get("activations") for side in sides)
    if before:
        idle = percent(mean_of(after, "negligible")) if after else "-"
        skippable = percent(mean_of(before, "skippable"))
        yield (
            "idle activations",
            percent(mean_of(before, "negligible")),
            idle,
            f"in no token of a text: {skippable} before",
        )


def _tries(found: Found) -> Iterator[str]:
    yield from table(
        (found["kept"]["unit"], f"#{found['metric']}", "#worse by", ""),
        [
            (
                f"{each['size']:,} of {found['kept']['whole']:,}",
                figure(each["value"]),
                figure(each["drop"]),
                "passed" if each["passed"] else "too much",
            )
            for each in found["tries"]
        ],
    )
