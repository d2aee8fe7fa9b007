"""What a classifier does with the one hidden state of a text that it reads."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Takes the classifier and the hidden state [rows, width]; returns logits [rows, labels].
Head = Callable[[Any, Tensor], Tensor]


def _of_pooler(model: Any, read: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.base_model.pooler(read.unsqueeze(1)))
    return logits


def _of_first_token(model: Any, read: Tensor) -> Tensor:
    logits: Tensor = model.classifier(read.unsqueeze(1))
    return logits


def _of_albert(model: Any, read: Tensor) -> Tensor:
    albert = model.base_model
    logits: Tensor = model.classifier(albert.pooler_activation(albert.pooler(read)))
    return logits


def _of_distilbert(model: Any, read: Tensor) -> Tensor:
    logits: Tensor = model.classifier(torch.relu(model.pre_classifier(read)))
    return logits


def _of_modernbert(model: Any, read: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.head(read))
    return logits


def _of_last_token(model: Any, read: Tensor) -> Tensor:
    logits: Tensor = model.score(read)
    return logits


# By `model_type`: from the hidden state [rows, width] of the token it reads to logits.
HEADS: dict[str, Head] = {
    "albert": _of_albert,
    "bert": _of_pooler,
    "camembert": _of_first_token,
    "data2vec-text": _of_first_token,
    "distilbert": _of_distilbert,
    "electra": _of_first_token,
    "ernie": _of_pooler,
    "gemma": _of_last_token,
    "gpt2": _of_last_token,
    "gpt_neox": _of_last_token,
    "llama": _of_last_token,
    "mistral": _of_last_token,
    "modernbert": _of_modernbert,
    "nomic_bert": _of_pooler,
    "olmo2": _of_last_token,
    "phi3": _of_last_token,
    "qwen2": _of_last_token,
    "qwen3": _of_last_token,
    "roberta": _of_first_token,
    "roberta-prelayernorm": _of_first_token,
    "smollm3": _of_last_token,
    "xlm-roberta": _of_first_token,
    "xlm-roberta-xl": _of_first_token,
}
