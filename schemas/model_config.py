"""What `config.json` says of a classifier, and what in it is refused. Pure functions of JSON.

A hostile config can switch code or a quantiser on while a model is loaded, so it is read here
before transformers ever sees it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from schemas.errors import ModelIncompatible
from schemas.job import ProblemType
from schemas.model_families import FAMILIES

# Where neither tokenizer nor config sets a limit (XLNet): the length it was trained at.
UNLIMITED_MAX_LENGTH = 512
# Tokenizers without a limit say 10**30; nothing reads a million tokens at once.
_NO_LIMIT = 1_000_000

_REFUSED_KEYS = {
    "auto_map": "it asks for code that comes with the model, which is never run",
    "quantization_config": "it switches a quantiser on while the model is loaded",
}
_POSITION_KEYS = ("max_position_embeddings", "n_positions")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """What bulkscore needs to know of a classifier."""

    model_type: str
    problem_type: ProblemType
    labels: tuple[str, ...]
    max_length: int


def parse_config(config: Json, tokenizer_config: Json, *, head_labels: int) -> ClassifierConfig:
    """Return what `config.json` says of a classifier that has been checked by `require_safe`.

    Args:
        config: Content of `config.json`.
        tokenizer_config: Content of `tokenizer_config.json`, empty when there is none.
        head_labels: Labels that the head in the weights gives.

    Raises:
        ModelIncompatible: Something is missing or does not fit together.
    """
    labels = _labels(config, head_labels)
    return ClassifierConfig(
        model_type=_model_type(config),
        problem_type=_problem_type(config, labels),
        labels=labels,
        max_length=model_max_length(config, tokenizer_config),
    )


def require_safe(config: Json, file: str) -> None:
    """Refuse keys, at any depth, that would change how or by whose code a model is loaded."""
    for key in _keys(config):
        if key in _REFUSED_KEYS:
            raise ModelIncompatible(f"{file} has {key!r}: {_REFUSED_KEYS[key]}")
        if "attn_implementation" in key:
            raise ModelIncompatible(
                f"{file} has {key!r}, which can name code to be fetched and run: remove the key"
            )


def require_classifier(config: Json) -> None:
    """Refuse a model that is not a sequence classifier of a known family."""
    architectures = config.get("architectures") or []
    if not any(str(a).endswith("ForSequenceClassification") for a in architectures):
        named = ", ".join(map(str, architectures)) or "none"
        raise ModelIncompatible(
            f"config.json names the architecture {named}, not a …ForSequenceClassification: "
            "train a classification head first (bulkscore train)"
        )
    _model_type(config)


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _model_type(config: Json) -> str:
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ModelIncompatible(
            f"config.json has model_type {model_type!r}; known are {', '.join(sorted(FAMILIES))}"
        )
    return str(model_type)


def _labels(config: Json, head_labels: int) -> tuple[str, ...]:
    id2label = config.get("id2label")
    if not isinstance(id2label, dict) or not id2label:
        example = ", ".join(f'"{i}": "LABEL_{i}"' for i in range(head_labels))
        raise ModelIncompatible(
            "config.json has no label map (id2label), so the label names are unknown; add for "
            f'example "id2label": {{{example}}}'
        )
    try:
        by_index = {int(index): str(label) for index, label in id2label.items()}
    except ValueError:
        by_index = {}
    if sorted(by_index) != list(range(len(id2label))):
        raise ModelIncompatible(
            f"config.json: the keys of id2label are {', '.join(map(str, id2label))}, they must "
            f"be 0 to {len(id2label) - 1}"
        )
    if len(by_index) != head_labels:
        raise ModelIncompatible(
            f"config.json names {len(by_index)} labels, the head in the weights has {head_labels}"
        )
    return tuple(by_index[i] for i in range(len(by_index)))


def _problem_type(config: Json, labels: tuple[str, ...]) -> ProblemType:
    stated = config.get("problem_type")
    if stated is None:
        return "regression" if len(labels) == 1 else "single_label_classification"
    for known in get_args(ProblemType):
        if stated == known:
            if stated == "regression" and len(labels) > 1:
                raise ModelIncompatible("config.json: a regression may have one label only")
            return known  # type: ignore[no-any-return]
    raise ModelIncompatible(
        f"config.json has problem_type {stated!r}; known are {', '.join(get_args(ProblemType))}"
    )


def model_max_length(config: Json, tokenizer_config: Json) -> int:
    """Return how many tokens a model of a known family reads at once."""
    limits = [config.get(key) for key in _POSITION_KEYS]
    if FAMILIES[_model_type(config)].positions_after_padding:
        unusable = int(config.get("pad_token_id") or 1) + 1  # the families' own pad id is 1
        limits = [limit - unusable for limit in limits if isinstance(limit, int)]
    limits.append(tokenizer_config.get("model_max_length"))
    known = [int(v) for v in limits if isinstance(v, int | float) and 0 < v < _NO_LIMIT]
    return min(known, default=UNLIMITED_MAX_LENGTH)
