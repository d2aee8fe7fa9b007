"""Stores the weights of a model in fewer bits: the same model in a smaller file."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.model_files import OTHER_FILES, SHARD_INDEX, WEIGHTS
from schemas.model_weights import head_tensor, shard_files
from worker.engine import int8_weights

READABLE = 0o644  # safetensors writes for the owner alone; workers read it too


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a verified model as they are stored, of all its shards."""
    if (folder / WEIGHTS).exists():
        return load_file(folder / WEIGHTS)
    index = json.loads((folder / SHARD_INDEX).read_bytes()).get("weight_map")
    found: dict[str, Tensor] = {}
    for name in sorted(set(shard_files(index, SHARD_INDEX).values())):
        found |= load_file(folder / name)
    return found


def store_bf16(parent: Path, folder: Path) -> None:
    """Write the model in `parent` to the new folder `folder`, its weights in bf16."""
    weights = {
        name: weight.to(torch.bfloat16) if weight.is_floating_point() else weight
        for name, weight in read_weights(parent).items()
    }
    copy_others(parent, folder)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(READABLE)


def store_int8(parent: Path, folder: Path) -> None:
    """Write the model in `parent` to the new folder `folder`, its matrices in 8 bits.

    The last layer of the head stays as it is: it is small, and nothing evens out its errors.
    """
    weights = read_weights(parent)
    head = head_tensor(set(weights))
    copy_others(parent, folder)
    stored = int8_weights.quantize(weights, keep={head} if head else set())
    int8_weights.write(stored, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(READABLE)


def copy_others(parent: Path, folder: Path) -> None:
    """Make `folder` with the files of `parent` that are no weights."""
    folder.mkdir()
    for name in OTHER_FILES:
        if (parent / name).exists():
            shutil.copyfile(parent / name, folder / name)
