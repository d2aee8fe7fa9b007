"""Weights stored in 8 bits, and how they become float32 again. A format of bulkscore's own.

A matrix NAME [rows, columns] is stored as `NAME.int8`, numbers from -127 to 127, and `NAME.scale`,
float32 [rows]; it is their product. A row is an output of a linear layer, or a token of an
embedding. All other tensors are stored as they are. The metadata of the file name the format, and
since the names of the matrices are not those of an architecture, nothing takes them for weights.
"""

from collections.abc import Container, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.errors import ModelIncompatible

FORMAT_KEY, FORMAT = "bulkscore.weights", "int8-rows-1"
_INT8, _SCALE = ".int8", ".scale"
_LARGEST = 127
_SMALLEST = 1e-30  # keeps a row of zeros from being divided by zero


def quantize(weights: Mapping[str, Tensor], keep: Container[str] = ()) -> dict[str, Tensor]:
    """Return weights in this format.

    A number is off by at most half a scale, which is 1/254 of the largest number of its row.

    Args:
        weights: By name.
        keep: Names of matrices that stay as they are.
    """
    stored: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.dim() != 2 or not weight.is_floating_point() or name in keep:
            stored[name] = weight
            continue
        full = weight.float()
        scale = full.abs().amax(dim=1).clamp_min(_SMALLEST) / _LARGEST
        stored[f"{name}{_INT8}"] = (full / scale[:, None]).round().to(torch.int8)
        stored[f"{name}{_SCALE}"] = scale
    return stored


def restore(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as they are named in their architecture, matrices in float32.

    Raises:
        ModelIncompatible: The parts of a matrix do not fit together.
    """
    weights: dict[str, Tensor] = {}
    for name, part in stored.items():
        if name.endswith(_SCALE) and f"{name.removesuffix(_SCALE)}{_INT8}" in stored:
            continue
        if not name.endswith(_INT8):
            weights[name] = part
            continue
        plain = name.removesuffix(_INT8)
        scale = stored.get(f"{plain}{_SCALE}")
        fits = scale is not None and part.dim() == 2 and scale.shape == part.shape[:1]
        if scale is None or not fits or part.dtype != torch.int8 or plain in stored:
            raise ModelIncompatible(f"the 8-bit weights of {plain} and their scales do not fit")
        if not (scale.isfinite() & (scale > 0)).all():
            raise ModelIncompatible(f"the 8-bit weights of {plain} have scales that are not sound")
        weights[plain] = part.float() * scale.float()[:, None]
    return weights


def write(stored: Mapping[str, Tensor], path: Path) -> None:
    """Write what `quantize` returned."""
    save_file(dict(stored), path, metadata={"format": "pt", FORMAT_KEY: FORMAT})


def is_int8(path: Path) -> bool:
    """Say whether a safetensors file is of this format.

    Raises:
        ModelIncompatible: It is of one that is not known here.
        SafetensorError: It is damaged.
    """
    with safe_open(path, "pt") as file:
        found = (file.metadata() or {}).get(FORMAT_KEY)
    if found not in (None, FORMAT):
        raise ModelIncompatible(
            f"{path.name} has weights in the format {found!r}, which this bulkscore does not know: "
            "use a newer one"
        )
    return found is not None


def read(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file of this format, matrices in float32; raises as `restore`."""
    return restore(load_file(path))
