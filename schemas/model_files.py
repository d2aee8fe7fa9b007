"""Which files make a model version, whether they are safe and complete, and their digest.

Looks at names, at `config.json` and at the header of the weights; loads no model and needs no
torch, so that a bad model is refused when a job is submitted.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.errors import InputMissing, ModelIncompatible, UsageError
from schemas.job import Dtype, ModelFile, ModelPin
from schemas.locations import canonical, is_s3, local_path
from schemas.model_config import parse_config, require_classifier, require_safe
from schemas.model_families import FUSED
from schemas.model_version import VersionManifest
from schemas.model_weights import Shapes, head_tensor, read_shapes, shard_files
from schemas.objects import ObjectStat
from schemas.registry import Registry, is_registry_ref, sums
from schemas.storage import Storage

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"

# All that is ever fetched or read beside the weights. README, training state, code and pickles
# that lie in the same folder are left where they are.
OTHER_FILES = frozenset(
    {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "spm.model",
        "sentencepiece.bpe.model",
        "tokenizer.model",
    }
)
_PICKLED_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# One ranged read of a remote file: few requests, little memory.
HASH_READ_BYTES = 8 * 1024 * 1024

Objects = dict[str, ObjectStat]


def pin_model(storage: Storage, ref: str, models_uri: str | None = None) -> ModelPin:
    """Return the model at `ref` as it is now.

    Args:
        storage: The door to objects.
        ref: Local path, `file://` or `s3://` folder of a Hugging Face sequence classifier, or
            `name@version` or `name@alias` in the registry.
        models_uri: Where the registry is, if there is one.

    Raises:
        InputMissing: There is nothing at `ref`.
        ModelIncompatible: It is not a safe and complete classifier; file and reason are named.
        ConfigurationError: `ref` is in the registry, and there is none.
        UsageError: `ref` is of a kind that is not understood.
    """
    if is_registry_ref(ref):
        registry = Registry(storage, models_uri)
        return _pin_version(registry, registry.resolve(ref))
    uri = canonical(ref)
    try:
        return _pin(storage, ref, uri, _list(storage, ref, uri))
    except ModelIncompatible as error:
        raise ModelIncompatible(f"model {ref}: {error}") from error


def choose_max_length(pin: ModelPin, requested: int | None) -> int:
    """Return the length at which texts are cut: as requested, else the model's own limit.

    Raises:
        UsageError: The model cannot read as many tokens as requested.
    """
    if requested is None:
        return pin.max_length
    if requested > pin.max_length:
        raise UsageError(
            f"--max-length {requested}: {pin.name} reads at most {pin.max_length} tokens"
        )
    return requested


def require_precision(pin: ModelPin, dtype: Dtype) -> None:
    """Refuse a number format that the engine has not got for a family.

    Raises:
        UsageError: It is int8, and the family has no such engine.
    """
    if dtype == "int8" and pin.model_type not in FUSED:
        raise UsageError(
            f"--dtype int8: {pin.name} is of type {pin.model_type}, which is not computed in int8 "
            f"(that are {', '.join(sorted(FUSED))}): use bf16 or fp32"
        )


def files_digest(files: Iterable[ModelFile]) -> str:
    """Return the SHA-256 over paths and sums of `files`: what makes two models the same."""
    lines = sorted(f"{file.path}\0{file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _pin_version(registry: Registry, version: VersionManifest) -> ModelPin:
    """Return a registered version, looked at as any model; contents are hashed by who loads it."""
    storage, uri, stated = registry.storage, registry.folder(version), sums(version)
    found = {stat.uri.rpartition("/")[2]: stat for stat in storage.list_objects(uri)}
    for name, file in stated.items():
        if name not in found or found[name].size != file.size:
            raise ModelIncompatible(
                f"model {version.ref}: {name} is not the file that was registered (its size)"
            )
    kept = {name: stat for name, stat in found.items() if name in stated}
    try:
        pin = _pin(storage, version.ref, uri, kept, stated)
    except ModelIncompatible as error:
        raise ModelIncompatible(f"model {version.ref}: {error}") from error
    signature = registry.signature(version)
    if (pin.digest, pin.labels) != (version.digest, signature.labels):
        raise ModelIncompatible(f"model {version.ref}: manifest, signature and files disagree")
    named = {"name": version.name, "version": version.version, "signature": signature}
    return pin.model_copy(update=named)


def _pin(
    storage: Storage,
    ref: str,
    uri: str,
    found: Objects,
    stated: Mapping[str, ModelFile] | None = None,
) -> ModelPin:
    config, tokenizer_config = _read_configs(storage, found)
    objects = _model_objects(storage, found)
    labels = _head_labels(storage, objects)
    parsed = parse_config(config, tokenizer_config, head_labels=labels)
    _require_vocabulary_fits(_read_json(storage, objects["tokenizer.json"]), config)
    if stated is None:
        stated = {path: _hash(storage, path, stat) for path, stat in objects.items()}
    files = tuple(stated[path] for path in sorted(objects))
    return ModelPin(
        ref=ref,
        name=uri.rpartition("/")[2],
        uri=uri,
        digest=files_digest(files),
        files=files,
        model_type=parsed.model_type,
        problem_type=parsed.problem_type,
        labels=parsed.labels,
        max_length=parsed.max_length,
    )


def _list(storage: Storage, ref: str, uri: str) -> Objects:
    """Return the objects directly in the model's folder by name."""
    found = {stat.uri.rpartition("/")[2]: stat for stat in storage.list_objects(uri)}
    if found:
        return found
    if not is_s3(uri) and local_path(uri).is_file():
        raise ModelIncompatible("this is a file; give the folder that holds config.json")
    if not is_s3(uri) and local_path(uri).is_dir():
        raise ModelIncompatible("the folder is empty")
    raise InputMissing(
        f"model {ref} does not exist; a model is a local path, file:// or s3:// folder, or "
        "NAME@VERSION in the registry (nothing is downloaded from a model hub)"
    )


def _read_configs(storage: Storage, found: Objects) -> tuple[dict[str, Any], dict[str, Any]]:
    for name, reason in (
        ("config.json", "it says what the model is"),
        (
            "tokenizer.json",
            "the fast tokenizer is made from it; "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes it",
        ),
    ):
        if name not in found:
            raise ModelIncompatible(f"there is no {name}: {reason}")
    config = _read_json(storage, found["config.json"])
    require_safe(config, "config.json")
    require_classifier(config)
    if "tokenizer_config.json" not in found:
        return config, {}
    tokenizer_config = _read_json(storage, found["tokenizer_config.json"])
    require_safe(tokenizer_config, "tokenizer_config.json")
    return config, tokenizer_config


def _read_json(storage: Storage, stat: ObjectStat) -> dict[str, Any]:
    name = stat.uri.rpartition("/")[2]
    try:
        content = json.loads(storage.read(stat.uri))
    except ValueError as error:
        raise ModelIncompatible(f"{name} is not JSON: it is damaged or was cut short") from error
    if not isinstance(content, dict):
        raise ModelIncompatible(f"{name} is not a JSON object")
    return content


def _model_objects(storage: Storage, found: Objects) -> Objects:
    """Return the objects that make the model: allow-listed files and safetensors weights."""
    objects = {name: stat for name, stat in found.items() if name in OTHER_FILES}
    if WEIGHTS in found:
        return {**objects, WEIGHTS: found[WEIGHTS]}
    if SHARD_INDEX in found:
        shards = set(_shards(storage, found[SHARD_INDEX]).values())
        missing = sorted(shards - found.keys())
        if missing:
            raise ModelIncompatible(f"{SHARD_INDEX} names {missing[0]}, which is not there")
        return {**objects, **{name: found[name] for name in (SHARD_INDEX, *shards)}}
    pickled = sorted(name for name in found if name.endswith(_PICKLED_WEIGHTS))
    if pickled:
        raise ModelIncompatible(
            f"its weights are only in {pickled[0]}, a pickle, which can run code and is never "
            f"loaded: save the model as {WEIGHTS}"
        )
    raise ModelIncompatible(f"there are no weights: neither {WEIGHTS} nor {SHARD_INDEX}")


def _shards(storage: Storage, index: ObjectStat) -> dict[str, str]:
    return shard_files(_read_json(storage, index).get("weight_map"), SHARD_INDEX)


def _head_labels(storage: Storage, objects: Objects) -> int:
    """Return how many labels the classification head in the weights gives."""
    shapes: Shapes = {}
    for name in sorted(objects):
        if name.endswith(".safetensors"):
            with storage.open(objects[name].uri) as stream:
                shapes |= read_shapes(stream, objects[name].size, name)
    head = head_tensor(set(shapes))
    if head is None:
        raise ModelIncompatible(
            "the weights have no classification head, it would be filled with random numbers: "
            "train one first (bulkscore train)"
        )
    return shapes[head][0]


def _require_vocabulary_fits(tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse a tokenizer that makes ids the model has no embedding for."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or {}
    added = [int(token["id"]) for token in tokenizer.get("added_tokens") or ()]
    known = vocabulary.values() if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    largest, size = max((*known, *added), default=-1), config.get("vocab_size")
    if isinstance(size, int) and largest >= size:
        raise ModelIncompatible(
            f"tokenizer.json makes ids up to {largest}, the model knows only {size}: they do not "
            "belong together"
        )


def _hash(storage: Storage, path: str, stat: ObjectStat) -> ModelFile:
    digest = hashlib.sha256()
    with storage.open(stat.uri) as stream:
        while block := stream.read(HASH_READ_BYTES):
            digest.update(block)
    return ModelFile(path=path, size=stat.size, sha256=digest.hexdigest())
