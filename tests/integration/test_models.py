"""Models are loaded once, the last few are kept, and a bad one fails fast."""

import shutil
from pathlib import Path

import pytest

from schemas.errors import ModelIncompatible, UsageError
from schemas.job import ModelPin
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from worker.model_store import ModelStore
from worker.models import LIBRARIES, ModelCache, load_model


@pytest.fixture(scope="module")
def pins(tmp_path_factory: pytest.TempPathFactory) -> list[ModelPin]:
    root = tmp_path_factory.mktemp("models")
    return [
        pin_model(Storage(), str(save_tiny_classifier(root / str(seed), seed=seed)))
        for seed in range(3)
    ]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(Storage(), tmp_path / "cache")


@pytest.fixture
def cache(store: ModelStore) -> ModelCache:
    return ModelCache(store, capacity=2, device="cpu")


def test_a_loaded_model_turns_texts_into_a_logit_for_each_label(
    store: ModelStore, pins: list[ModelPin]
) -> None:
    model = load_model(store, pins[0], device="cpu", max_length=16, token_budget=64)

    encoded = model.tokenizer.encode(["the lazy dog " * 20, "style"])
    logits = model.engine.forward(encoded.ids)

    assert len(encoded.ids[0]) == model.max_length == 16
    assert logits.shape == (2, len(model.labels))
    assert model.engine.token_budget == 64


def test_a_loaded_model_knows_the_versions_that_decide_its_numbers(
    store: ModelStore, pins: list[ModelPin]
) -> None:
    libraries = load_model(store, pins[0], device="cpu").libraries

    assert tuple(libraries) == LIBRARIES
    assert all(version[0].isdigit() for version in libraries.values())


def test_more_tokens_than_the_model_reads_are_refused(
    store: ModelStore, pins: list[ModelPin]
) -> None:
    with pytest.raises(UsageError, match="at most 128"):
        load_model(store, pins[0], device="cpu", max_length=129)


def test_a_model_is_loaded_once_for_the_same_options(
    cache: ModelCache, pins: list[ModelPin]
) -> None:
    first = cache.get(pins[0])

    assert cache.get(pins[0]) is first
    assert cache.get(pins[0], max_length=32) is not first


def test_the_model_not_used_for_longest_makes_room(cache: ModelCache, pins: list[ModelPin]) -> None:
    first, second = cache.get(pins[0]), cache.get(pins[1])
    cache.get(pins[0])

    cache.get(pins[2])

    assert cache.get(pins[0]) is first
    assert cache.get(pins[1]) is not second


def test_a_model_that_could_not_be_loaded_can_be_once_it_is_mended(
    cache: ModelCache, pins: list[ModelPin], tmp_path: Path
) -> None:
    original = Path(pins[0].uri)
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    pin = pin_model(Storage(), str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(ModelIncompatible, match="it is gone"):
        cache.get(pin)
    shutil.copy(original / "config.json", copy)

    assert cache.get(pin).labels == cache.get(pins[0]).labels
