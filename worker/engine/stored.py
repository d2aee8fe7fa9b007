"""Loads the transformers model in a folder, whatever form its weights are stored in."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForSequenceClassification,
)

from schemas.model_files import WEIGHTS
from worker.engine import int8_weights
from worker.engine.encoder_parts import head_width
from worker.engine.pruned_heads import cut_off, fill_up, kept_heads


def from_folder(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Return a classifier and the report of its loading.

    Weights that our compression stored in 8 bits, or without some of the heads, are made plain
    first; transformers holds them to the architecture like any others.

    Args:
        folder: Its files.
        options: As those of `from_pretrained`.

    Raises:
        ModelIncompatible: Weights of a form of ours are not sound.
        Exception: As `from_pretrained`.
    """
    safe = {"local_files_only": True, "trust_remote_code": False}
    options |= {**safe, "use_safetensors": True, "output_loading_info": True}
    path = folder / WEIGHTS
    config = AutoConfig.from_pretrained(folder, **safe)
    kept, int8 = kept_heads(config), path.exists() and int8_weights.is_int8(path)
    if kept is None and not int8:
        model, info = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        return model, info
    weights = int8_weights.read(path) if int8 else load_file(path)
    if kept is not None:
        weights = fill_up(weights, config, kept)
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    model, info = kind.from_pretrained(None, config=config, state_dict=weights, **options)
    if kept is not None:
        cut_off(model, kept)
        model.config.head_dim = head_width(config)  # what the engine goes by
        model.config.num_attention_heads = kept
    return model, info
