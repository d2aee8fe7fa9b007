"""Tiny classifiers that decide: both labels occur, and few texts lie between them.

`support.families` gives every family its random weights and a tokenizer trained on the spot. Such
a model may call nearly everything by one label with a margin near zero, which hides mistakes in
tests that compare labels. Here the head is made stronger and centred on ordinary texts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from support.families import save_tiny_classifier
from support.texts import ordinary_texts

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

LABELS = ("negative", "positive")
HEAD_NAMES = ("classifier.out_proj", "classifier", "logits_proj", "score")
LOGIT_SPREAD = 3.0  # standard deviation over texts: scores reach from 0.01 to 0.99
CALIBRATION_ROWS = 64

# How a family calls its width and depth, where it is not `hidden_size, num_hidden_layers`.
_SIZE_NAMES = {
    "distilbert": ("dim", "n_layers"),
    "gpt2": ("n_embd", "n_layer"),
    "xlnet": ("d_model", "n_layer"),
}


def tiny_model(
    path: Path,
    family: str = "bert",
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    problem_type: ProblemType | None = None,
    hidden: int = 32,
    layers: int = 2,
    **config: Any,
) -> Path:
    """Write a tiny classifier and its tokenizer, and return the folder; the seed decides all.

    Args:
        path: Folder, created when it is not there.
        family: bert, roberta, distilbert, electra, xlnet, gpt2, deberta-v2, modernbert, or any
            other of `support.families`.
        labels: Their names; a regression has exactly one.
        seed: Of the weights.
        problem_type: As in the model's configuration; None leaves it out, as most models do.
        hidden: Width, a multiple of 2.
        layers: Depth.
        config: Further values of the model's configuration.
    """
    import torch

    width, depth = _SIZE_NAMES.get(family, ("hidden_size", "num_hidden_layers"))
    sizes = {width: hidden, depth: layers}
    if problem_type is not None:
        config["problem_type"] = problem_type
    with torch.random.fork_rng(devices=[]):
        save_tiny_classifier(path, family, labels=labels, seed=seed, **{**sizes, **config})
        _make_decisive(path)
    return path


def reference_logits(path: Path, texts: Sequence[str]) -> list[list[float]]:
    """Score texts one by one with plain transformers: no batch, no padding, float32, the CPU."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    return _logits(model, AutoTokenizer.from_pretrained(path), texts).tolist()


def _make_decisive(path: Path) -> None:
    """Scale and centre the head so that the logits of ordinary texts spread around zero."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    texts = ordinary_texts(CALIBRATION_ROWS, seed=1)
    head = _head(model)
    with torch.no_grad():
        head.weight *= LOGIT_SPREAD / _logits(model, tokenizer, texts).std(dim=0)[:, None]
        if head.bias is not None:
            head.bias -= _logits(model, tokenizer, texts).median(dim=0).values
    model.save_pretrained(path)


def _head(model: Any) -> Any:
    """Return the linear layer that makes the logits."""
    layers = dict(model.named_modules())
    return next(layers[name] for name in HEAD_NAMES if hasattr(layers.get(name), "weight"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch from handing out work so small that its threads would only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _logits(model: Any, tokenizer: Any, texts: Sequence[str]) -> Any:
    import torch

    with torch.inference_mode(), _one_thread():
        rows = [
            model(**tokenizer(text, truncation=True, max_length=128, return_tensors="pt")).logits
            for text in texts
        ]
    return torch.cat(rows)
