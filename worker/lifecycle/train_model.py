"""The model that is trained: a base with its head, its dropout, and what of it stands still."""

import shutil
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    set_seed,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from schemas.errors import ModelIncompatible, UsageError
from schemas.labelled import Problem
from schemas.model_families import FAMILIES
from schemas.model_files import OTHER_FILES, WEIGHTS
from worker.lifecycle.train_base import Base
from worker.lifecycle.train_recipe import Recipe
from worker.tokenizer_file import require_readable

PROBLEM_TYPES: dict[Problem, str] = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
_LOADING_ERRORS = (
    *(AttributeError, ImportError, LookupError, OSError, RuntimeError),
    *(SafetensorError, TypeError, ValueError),
)


def load_base(
    base: Base, recipe: Recipe, problem: Problem, names: Sequence[str]
) -> tuple[Any, Any]:
    """Return model and tokenizer of `base`, with a head for these labels.

    A head that is new starts from random weights drawn with the seed; any other weight must be
    there.

    Raises:
        ModelIncompatible: Weights or tokenizer do not load, or are not complete.
        UsageError: The recipe asks for what the architecture has not.
    """
    disable_progress_bar()
    set_verbosity_error()  # it would warn that the head is new, which is the point
    set_seed(recipe.seed)
    config = _config(base, problem, names)
    if recipe.dropout is not None:
        _set_dropout(config, recipe.dropout)
    model, tokenizer = _loaded(base, config)
    if base.head is not None and recipe.new_head:
        _draw_head(model)
    tokenizer.padding_side = FAMILIES[base.model_type].padding_side
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if recipe.freeze_encoder:
        model.base_model.requires_grad_(False)
    if recipe.freeze_layers:
        _freeze_layers(model, recipe.freeze_layers)
    return model, tokenizer


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write to the new folder `folder` the files that make a model version, and no others."""
    whole = folder.with_name(f"{folder.name}.all")
    shutil.rmtree(whole, ignore_errors=True)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    model.save_pretrained(whole, max_shard_size="1TB")
    tokenizer.save_pretrained(whole)
    folder.mkdir()
    for path in whole.iterdir():
        if path.name in OTHER_FILES or path.name == WEIGHTS:
            path.chmod(0o644)  # safetensors writes for the owner alone; workers read it too
            path.rename(folder / path.name)
    shutil.rmtree(whole)


def _config(base: Base, problem: Problem, names: Sequence[str]) -> Any:
    try:
        config = AutoConfig.from_pretrained(
            base.folder, local_files_only=True, trust_remote_code=False
        )
    except _LOADING_ERRORS as error:
        raise _unusable(base, error) from error
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = PROBLEM_TYPES[problem]
    return config


def _loaded(base: Base, config: Any) -> tuple[Any, Any]:
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            base.folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=FAMILIES[base.model_type].attention,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except _LOADING_ERRORS as error:
        raise _unusable(base, error) from error
    _require_only_head_new(base, model, info)
    return model, _tokenizer(base)


def _tokenizer(base: Base) -> Any:
    try:
        require_readable(base.folder)
        return AutoTokenizer.from_pretrained(
            base.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        # An error of the Rust side has no class of its own.
        if type(error) is not Exception and not isinstance(error, _LOADING_ERRORS):
            raise
        raise _unusable(base, error) from error


def _require_only_head_new(base: Base, model: Any, info: Any) -> None:
    """Refuse a base that lacks weights of the encoder itself; a pooler belongs to the head."""
    prefix = f"{model.base_model_prefix}."
    mismatched = [entry[0] for entry in info["mismatched_keys"]]
    lacking = [
        name
        for name in (*info["missing_keys"], *mismatched)
        if name.startswith(prefix) and not name.startswith(f"{prefix}pooler.")
    ]
    if lacking:
        raise ModelIncompatible(
            f"model {base.name} lacks weights of the encoder: {sorted(lacking)[:5]}"
        )


def _unusable(base: Base, error: Exception) -> ModelIncompatible:
    return ModelIncompatible(f"model {base.name} does not load: {type(error).__name__}: {error}")


def _draw_head(model: Any) -> None:
    """Give the linear layers outside the encoder new random weights."""
    inside = set(model.base_model.modules())
    for module in model.modules():
        if isinstance(module, nn.Linear) and module not in inside:
            nn.init.normal_(module.weight, std=getattr(model.config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _set_dropout(config: Any, share: float) -> None:
    """Set every dropout of an architecture, whatever it calls them."""
    known = [
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("_pdrop"))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ]
    if not known:
        raise UsageError(f"--dropout: models of type {config.model_type} have none")
    for name in known:
        setattr(config, name, share)


def _freeze_layers(model: Any, count: int) -> None:
    """Keep what lies below layer `count` as it is: embeddings and the layers under it."""
    encoder, layers = model.base_model, model.config.num_hidden_layers
    stacks = (m for m in encoder.modules() if isinstance(m, nn.ModuleList))
    stack = next((m for m in stacks if len(m) == layers), None)
    if stack is None:
        raise UsageError(
            f"--freeze-layers: models of type {model.config.model_type} share weights between "
            "layers: use --freeze-encoder"
        )
    if count >= layers:
        raise UsageError(
            f"--freeze-layers {count}: the model has {layers} layers, leave one to be trained or "
            "use --freeze-encoder"
        )
    first_trained = next(stack[count].parameters())
    for weight in takewhile(lambda w: w is not first_trained, encoder.parameters()):
        weight.requires_grad_(False)
