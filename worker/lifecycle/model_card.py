"""The model card of a training, in the form of Mitchell et al. 2019 as model hubs keep it.

Says what was done and measured, no more: texts of the data are never in it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def model_card(metrics: Mapping[str, Any], picture: str) -> str:
    """Return a README.md.

    Args:
        metrics: The content of `metrics.json`.
        picture: File name of the curves, beside the card.
    """
    return "\n".join(_lines(metrics, picture)) + "\n"


def _lines(metrics: Mapping[str, Any], picture: str) -> Iterator[str]:
    labels = metrics["labels"]
    yield from ("---", "library_name: transformers", "pipeline_tag: text-classification")
    yield f"base_model: {json.dumps(metrics['base'])}"
    yield from ("tags: [bulkscore]", "---", "")
    yield f"# {_kind(metrics)}"
    yield ""
    yield (
        f"Fine-tuned from {metrics['base']} on {metrics['train_rows']:,} labelled texts, "
        f"{metrics['steps']:,} steps in {metrics['train_seconds']:,.0f} s on {metrics['device']} "
        f"({metrics['precision']})."
    )
    yield ""
    if metrics["problem"] != "regression":
        yield f"Labels, in the order of the logits: {', '.join(f'`{name}`' for name in labels)}."
        yield ""
    yield from _quality(metrics)
    yield from ("## Training", "", f"![Loss and metrics by epoch]({picture})", "")
    if metrics["best_step"] is not None:
        yield (
            f"The weights are those of step {metrics['best_step']:,}, the best on the validation "
            "data."
        )
        yield ""
    yield from _table("setting", "value", metrics["recipe"])
    if metrics["search"]:
        yield f"Batch size and learning rate are the best of {len(metrics['search'])} trials:"
        yield ""
        yield from ("| batch size | learning rate | validation |", "|---:|---:|---:|")
        for trial in metrics["search"]:
            value = "stopped early" if trial["value"] is None else f"{trial['value']:.4f}"
            yield f"| {trial['batch_rows']} | {trial['learning_rate']:.2g} | {value} |"
        yield ""
    yield from ("## Data", "", "SHA-256 of texts and labels, wherever they were read from:", "")
    yield from _table("side", "digest", metrics["data"])
    yield from ("## Versions", "")
    yield from _table("library", "version", metrics["libraries"])
    yield from ("## Limits", "", _limits(metrics))


def _kind(metrics: Mapping[str, Any]) -> str:
    kinds = {
        "single-label": f"A classifier of texts into {len(metrics['labels'])} labels",
        "multi-label": f"A tagger of texts with any of {len(metrics['labels'])} labels",
        "regression": "A regression on texts",
    }
    return kinds[metrics["problem"]]


def _quality(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Quality", "")
    if not metrics["test_rows"] and not metrics["validation"]:
        yield "Nothing was measured: there were neither test nor validation data."
        yield ""
        return
    if metrics["test_rows"]:
        yield f"On {metrics['test_rows']:,} test texts, scored as a job scores them:"
        yield from ("", "| metric | value | 95 % interval |", "|---|---:|---:|")
        for name, (low, high) in metrics["intervals"].items():
            yield f"| {name} | {metrics[name]:.4f} | {low:.4f} to {high:.4f} |"
        yield ""
    if metrics["validation"]:
        yield f"On {metrics['validation_rows']:,} validation texts, by which weights were chosen:"
        yield ""
        yield from _table("metric", "value", metrics["validation"])


def _table(left: str, right: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"| {left} | {right} |", "|---|---|")
    for name, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        yield f"| {name} | {'-' if shown is None else shown} |"
    yield ""


def _limits(metrics: Mapping[str, Any]) -> str:
    return (
        f"Texts were cut after {metrics['recipe']['max_length']} tokens in training. What the "
        "model makes of texts unlike those it was trained on is not known."
    )
