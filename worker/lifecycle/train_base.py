"""What a training starts from: the files of an encoder or classifier, found and checked.

No model is loaded here. A folder that reaches outside itself, wants code of its own or lacks its
tokenizer is refused before transformers sees it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import InputMissing, ModelIncompatible
from schemas.locations import canonical, is_s3, local_path
from schemas.model_config import model_max_length, require_safe
from schemas.model_families import FAMILIES
from schemas.model_files import HASH_READ_BYTES, OTHER_FILES, SHARD_INDEX, pin_model
from schemas.model_weights import shard_files
from schemas.registry import is_registry_ref
from schemas.storage import Storage
from worker.lifecycle.train_recipe import ARCHITECTURES, Recipe
from worker.model_store import ModelStore

_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The classification head that a base has already."""

    labels: tuple[str, ...]
    problem_type: str

    @property
    def is_unnamed(self) -> bool:
        """Whether its labels are the numbers that transformers gives."""
        return self.labels == tuple(f"LABEL_{i}" for i in range(len(self.labels)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base on local disk.

    Attributes:
        name: What to call it in a model card.
        parent: The version in the registry, if it is of one.
        digest: SHA-256 over its files.
        max_length: Tokens that it reads at once.
        head: None for an encoder.
    """

    folder: Path
    name: str
    parent: str | None
    digest: str
    model_type: str
    max_length: int
    head: Head | None


def fetch_base(
    recipe: Recipe,
    texts: Sequence[str],
    storage: Storage,
    *,
    models_uri: str | None,
    store: ModelStore,
    scratch: Path,
) -> Base:
    """Return the base of a recipe, on local disk.

    Args:
        recipe: Says which.
        texts: What the vocabulary of an architecture is made of.
        storage: The door to objects.
        models_uri: The registry, if there is one.
        store: Keeps the files of registered models.
        scratch: An existing folder for what is made or fetched.

    Raises:
        InputMissing: There is nothing at the place.
        ModelIncompatible: It is no base that can be trained on safely.
    """
    ref = str(recipe.base)
    if ref in ARCHITECTURES:
        from worker.lifecycle.tiny_encoder import BUILDERS

        folder = BUILDERS[ref](texts, scratch / ref, seed=recipe.seed)
        return describe_base(folder, ref, f"{ref}, random weights")
    if is_registry_ref(ref):
        pin = pin_model(storage, ref, models_uri)
        version = f"{pin.name}@{pin.version}"
        return describe_base(store.fetch(pin), ref, version, parent=version)
    uri = canonical(ref)
    folder = _fetched(storage, uri, scratch / "base") if is_s3(uri) else local_path(uri)
    if not (folder.is_dir() if is_s3(uri) else storage.is_folder(uri)):
        what = "is a file: give the folder that holds it" if folder.exists() else "does not exist"
        raise InputMissing(
            f"model {ref} {what}; a base is a folder or s3:// prefix, NAME@VERSION in the "
            f"registry, or {', '.join(ARCHITECTURES)} (nothing is downloaded from a model hub)"
        )
    return describe_base(folder, ref, folder.name if is_s3(uri) else local_path(uri).name)


def describe_base(folder: Path, ref: str, name: str, *, parent: str | None = None) -> Base:
    """Return what the files in a local folder are, once they are known to do no harm.

    Raises:
        ModelIncompatible: They are no base.
    """
    config = _read_config(folder, "config.json", ref)
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise ModelIncompatible(
            f"model {ref} is of type {model_type!r}; known are {', '.join(sorted(FAMILIES))}"
        )
    if not any((folder / file).exists() for file in _TOKENIZER_FILES):
        raise ModelIncompatible(
            f"model {ref} has no tokenizer: none of {', '.join(_TOKENIZER_FILES)} is there"
        )
    tokenizer = {}
    if (folder / "tokenizer_config.json").exists():
        tokenizer = _read_config(folder, "tokenizer_config.json", ref)
    if (folder / SHARD_INDEX).exists():
        shard_files(_read_config(folder, SHARD_INDEX, ref).get("weight_map"), SHARD_INDEX)
    return Base(
        folder=folder,
        name=name,
        parent=parent,
        digest=_digest(folder),
        model_type=str(model_type),
        max_length=model_max_length(config, tokenizer),
        head=_head(config),
    )


def _read_config(folder: Path, name: str, ref: str) -> dict[str, Any]:
    """Return a JSON file of a model, once it is known to do no harm.

    Raises:
        ModelIncompatible: It cannot be read, or switches something on.
    """
    try:
        config = json.loads((folder / name).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelIncompatible(f"model {ref} has no {name} that can be read") from error
    if not isinstance(config, dict):
        raise ModelIncompatible(f"model {ref}: {name} is not a JSON object")
    require_safe(config, f"model {ref}: {name}")
    return config


def _head(config: dict[str, Any]) -> Head | None:
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        return None
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    labels = tuple(str(named[key]) for key in sorted(named, key=int))
    guess = "regression" if len(labels) == 1 else "single_label_classification"
    return Head(labels=labels, problem_type=config.get("problem_type") or guess)


def _fetched(storage: Storage, uri: str, folder: Path) -> Path:
    """Copy what makes a model from S3 into `folder`, which is made if there is anything."""
    for stat in storage.list_objects(uri):
        name = stat.uri.rpartition("/")[2]
        if name in OTHER_FILES or name == SHARD_INDEX or name.endswith(".safetensors"):
            folder.mkdir(parents=True, exist_ok=True)
            with storage.open(stat.uri) as source, (folder / name).open("wb") as copy:
                while block := source.read(HASH_READ_BYTES):
                    copy.write(block)
    return folder


def _digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of the files that a model is loaded from."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name in OTHER_FILES or path.suffix == ".safetensors" or path.name == SHARD_INDEX:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()
