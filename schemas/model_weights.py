"""What the header of a safetensors file says: names and shapes, without reading a weight."""

import json
from typing import BinaryIO

from schemas.errors import ModelIncompatible

# Headers of real models are some hundred kilobytes; safetensors itself refuses above this.
MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8

# The last layer of the head in every family we know; its first dimension is the labels.
HEAD_TENSORS = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "score.weight",
    "logits_proj.weight",
)

Shapes = dict[str, tuple[int, ...]]


def read_shapes(stream: BinaryIO, size: int, file: str) -> Shapes:
    """Return the shape of every tensor in a safetensors file, reading its header alone.

    Raises:
        ModelIncompatible: It is not safetensors, or shorter or longer than its header says.
    """
    start = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, MAX_HEADER_BYTES):
        raise ModelIncompatible(f"{file} is not a safetensors file, or was cut short")
    try:
        header = json.loads(stream.read(length))
        tensors = {name: t for name, t in header.items() if name != "__metadata__"}
        shapes = {name: tuple(map(int, t["shape"])) for name, t in tensors.items()}
        data_bytes = max((int(t["data_offsets"][1]) for t in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ModelIncompatible(f"{file} has a damaged safetensors header") from error
    if size != _LENGTH_BYTES + length + data_bytes:
        raise ModelIncompatible(
            f"{file} has {size} bytes, its header says {_LENGTH_BYTES + length + data_bytes}: "
            "it was cut short or is damaged"
        )
    return shapes


def head_tensor(names: set[str]) -> str | None:
    """Return the name of the last layer of the classification head, or None without one."""
    return next((name for name in HEAD_TENSORS if name in names), None)


def shard_files(weight_map: object, index_file: str) -> dict[str, str]:
    """Return the file of each tensor from a shard index, refusing anything but plain names.

    Raises:
        ModelIncompatible: The index is damaged, or points outside the model's folder.
    """
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelIncompatible(f"{index_file} has no weight_map")
    for file in weight_map.values():
        plain = isinstance(file, str) and file.endswith(".safetensors")
        if not plain or any(mark in file for mark in ("/", "\\", "..")):
            raise ModelIncompatible(
                f"{index_file} names {str(file)[:80]!r}, which is not a plain *.safetensors name"
            )
    return {str(tensor): file for tensor, file in weight_map.items()}
