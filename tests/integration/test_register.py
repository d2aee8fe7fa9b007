"""Registering writes down what a model makes of golden texts, and workers hold it to that."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InputMissing, ModelIncompatible, UsageError
from schemas.model_files import pin_model
from schemas.registry import METRICS, MODEL_CARD, Registry
from schemas.signature import Signature
from schemas.storage import Storage
from support.models import reference_logits, tiny_model
from support.processes import run_cli
from worker import golden
from worker.golden import GOLDEN_TEXTS
from worker.lifecycle.golden_check import check
from worker.lifecycle.register import register
from worker.model_store import ModelStore
from worker.models import load_model

pytestmark = pytest.mark.integration


@pytest.fixture
def registry(output: str, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    return Registry(storage, output)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("family", ["bert", "xlnet", "gpt2"])
def test_golden_logits_are_those_of_plain_transformers(
    tmp_path: Path, cache: Path, family: str
) -> None:
    model = tiny_model(tmp_path / "model", family)
    registry = Registry(Storage(), str(tmp_path / "registry"))

    signature = registry.signature(register(registry, str(model), "m", version="1"))

    alone = reference_logits(model, GOLDEN_TEXTS)
    assert len(signature.golden) == len(alone)
    for row, logits in zip(signature.golden, alone, strict=True):
        assert row.logits == pytest.approx(logits, abs=1e-4)


def test_a_registered_model_is_loaded_by_its_alias_also_with_a_smaller_length(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    register(registry, str(tiny_model(tmp_path / "model")), "m", alias="candidate")
    pin = pin_model(registry.storage, "m@candidate", registry.root)

    for length in (None, 8):
        loaded = load_model(
            ModelStore(Storage(), cache), pin, device="cpu", threads=1, max_length=length
        )
        assert loaded.pin.ref == pin.ref


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [({"logits": (9.0, -9.0)}, "logits"), ({"token_ids_sha256": "0" * 64}, "other tokens")],
)
def test_a_model_that_makes_something_else_of_a_golden_text_is_refused(
    cache: Path, tmp_path: Path, change: dict[str, object], reason: str, dtype: str
) -> None:
    registry = Registry(Storage(), str(tmp_path / "registry"))
    register(registry, str(tiny_model(tmp_path / "model")), "m", version="1")
    pin = pin_model(registry.storage, "m@1", registry.root)
    assert pin.signature is not None
    *rest, last = pin.signature.golden
    golden = (*rest, last.model_copy(update=change))
    other: Signature = pin.signature.model_copy(update={"golden": golden})
    store = ModelStore(Storage(), cache)

    load_model(store, pin, device="cpu", threads=1, dtype=dtype)  # type: ignore[arg-type]
    with pytest.raises(ModelIncompatible, match=f"m@1.*{reason}"):
        load_model(
            store,
            pin.model_copy(update={"signature": other}),
            device="cpu",
            threads=1,
            dtype=dtype,  # type: ignore[arg-type]
        )


def test_metrics_and_card_and_parent_go_with_the_version(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "model")
    (model / METRICS).write_text('{"accuracy": 0.75}')
    first = register(registry, str(model), "m", version="1")
    second = register(registry, "m@1", "m", version="2", parent="m@1")

    assert json.loads(registry.read(first, METRICS) or b"") == {"accuracy": 0.75}
    assert b"| accuracy | 0.75 |" in (registry.read(first, MODEL_CARD) or b"")
    assert second.parent is not None
    assert (second.parent.ref, second.digest) == ("m@1", first.digest)


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("metrics", "nowhere.json", InputMissing),
        ("card", "nowhere.md", InputMissing),
        ("parent", "m@9", InputMissing),
        ("parent", "m", UsageError),
    ],
)
def test_what_cannot_be_registered_leaves_no_version(
    cache: Path, tmp_path: Path, option: str, value: str, error: type[Exception]
) -> None:
    registry = Registry(Storage(), str(tmp_path / "registry"))
    model = tiny_model(tmp_path / "model")
    given: dict[str, Any] = {option: value}

    with pytest.raises(error):
        register(registry, str(model), "m", **given)

    assert registry.versions("m") == []


@pytest.mark.slow
def test_training_registers_under_a_name_and_writes_to_a_path(cache: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base")
    data = tmp_path / "data.csv"
    data.write_text("good,1\nbad,0\nvery good,1\nvery bad,0\n")
    env = {**os.environ, "BULKSCORE_MODELS_URI": str(tmp_path / "registry")}
    command = [sys.executable, "-m", "worker.lifecycle.train", "--model", str(base)]
    command += ["--data", str(data), "--epochs", "1", "--max-length", "16"]

    for out in ("named", "./folder"):
        done = subprocess.run(
            [*command, "--out", out], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    registry = Registry(Storage(), str(tmp_path / "registry"))
    (version,) = registry.versions("named")
    assert json.loads(registry.read(version, METRICS) or b"")["train_rows"] == 4
    assert (tmp_path / "folder" / "model.safetensors").exists()


def test_registering_records_how_far_bf16_agrees_and_a_worker_hears_of_it(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    texts = [f"text {n} of some words" for n in range(40)]

    register(registry, str(tiny_model(tmp_path / "model")), "m", version="1", texts=texts)

    pin = pin_model(registry.storage, "m@1", registry.root)
    assert pin.signature is not None
    found = pin.signature.precisions["bf16"]
    assert found.texts == len(texts)
    assert found.same > 0.9
    assert 0 < found.largest_difference < 0.1
    assert pin_model(registry.storage, str(tmp_path / "model")).signature is None


def test_texts_without_a_token_say_nothing_of_precisions(
    registry: Registry, cache: Path, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "model", "gpt2")  # adds no tokens of its own

    with pytest.raises(UsageError, match="none of the texts"):
        register(registry, str(model), "m", version="1", texts=["", ""])
    assert registry.versions("m") == []


def test_verify_loads_a_model_and_holds_it_to_its_golden_texts(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSCORE_MODELS_URI", str(tmp_path / "registry"))
    registry = Registry(Storage(), str(tmp_path / "registry"))
    register(registry, str(tiny_model(tmp_path / "model")), "m", version="1")
    environment = {name: os.environ[name] for name in os.environ if name.startswith("BULKSCORE_")}

    sound = run_cli("models", "verify", "m@1", "--load", env=environment)
    monkeypatch.setattr(golden, "TOLERANCES", {"bf16": 0.0})
    with pytest.raises(ModelIncompatible, match="logits of golden texts differ by"):
        check(Storage(), registry.root, "m@1", dtype="bf16", device="cpu")

    assert sound.exit_code == 0, str(sound)
    assert sound.stdout == "m@1 is as it was registered\n"
    assert "m@1 makes of 10 golden texts what it made before" in sound.stderr
    with pytest.raises(UsageError, match="is not registered"):
        check(Storage(), None, str(tmp_path / "model"), dtype="fp32", device="cpu")
