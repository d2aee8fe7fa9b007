"""How many tokens texts have, by the tokenizer of a model; the model itself is not loaded."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputMissing, ModelIncompatible
from schemas.locations import canonical
from schemas.model_config import model_max_length, require_safe
from schemas.model_files import OTHER_FILES
from schemas.storage import Storage
from worker.tokenizer import TEXT_CHARACTERS, Tokenizer


def count_tokens(storage: Storage, ref: str, texts: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Return the tokens of each text, special ones included, and how many the model reads at once.

    Args:
        storage: The door to objects.
        ref: Folder of an encoder or classifier: path, `file://` or `s3://`.
        texts: The texts; of one with more than a million characters the first million count.

    Raises:
        InputMissing: There is no such folder.
        ModelIncompatible: It has no tokenizer that can be used.
    """
    with tempfile.TemporaryDirectory(prefix="bulkscore-tokenizer-") as folder:
        limit = _fetch(storage, canonical(ref), Path(folder))
        encoded = Tokenizer(Path(folder), TEXT_CHARACTERS).encode(texts)
    return encoded.tokens().astype(np.int64), limit


def _fetch(storage: Storage, uri: str, folder: Path) -> int:
    """Copy config and tokenizer into `folder` and return the model's limit."""
    names = []
    for stat in storage.list_objects(uri):
        name = stat.uri.rpartition("/")[2]
        if name in OTHER_FILES:
            (folder / name).write_bytes(storage.read(stat.uri))
            names.append(name)
    if not names:
        raise InputMissing(f"model {uri}: there is no such folder, or no tokenizer in it")
    config = _read_json(folder / "config.json", uri)
    other = folder / "tokenizer_config.json"
    return model_max_length(config, _read_json(other, uri) if other.exists() else {})


def _read_json(path: Path, uri: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise ModelIncompatible(f"model {uri}: {path.name} is not there or not a JSON object")
    require_safe(content, path.name)
    return content
