"""A pruned model is its parent without some parts, to the last digits, and loads as strictly."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import ModelIncompatible
from schemas.job import ModelPin
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.models import tiny_model
from support.texts import ordinary_texts
from worker.engine.encoder_parts import parts_of
from worker.engine.loading import load_engine
from worker.lifecycle import pruning
from worker.lifecycle.compress_methods import Material
from worker.lifecycle.importance import batches_of, head_importance, neuron_importance
from worker.lifecycle.train_base import describe_base
from worker.lifecycle.train_data import Examples
from worker.lifecycle.train_recipe import Recipe
from worker.tokenizer import Tokenizer

pytestmark = pytest.mark.integration

TEXTS = ordinary_texts(24, seed=4)
HEADS, NEURONS, WIDTH = 4, 48, 8
Cut = Callable[[Any], None]


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def material(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Material:
    name = "n_heads" if request.param == "distilbert" else "num_attention_heads"
    heads: dict[str, Any] = {name: HEADS}
    folder = tmp_path_factory.mktemp("parent") / request.param
    tiny_model(folder, request.param, layers=3, **heads)
    labels = np.arange(len(TEXTS)) % 2
    return Material(
        base=describe_base(folder, str(folder), "parent"),
        pin=pin_of(folder),
        problem="single-label",
        rows=Examples(texts=TEXTS, targets=labels),
        recipe=Recipe(base=folder),
    )


def pin_of(folder: Path) -> ModelPin:
    return pin_model(Storage(), str(folder))


def engine_logits(folder: Path) -> Any:
    pin = pin_of(folder)
    encoded = Tokenizer(folder, 64).encode(TEXTS)
    return load_engine(folder, pin, device="cpu", dtype="fp32", threads=1).forward(encoded.ids)


def masked_logits(model: Any, tokenizer: Any, masks: Sequence[tuple[Any, torch.Tensor]]) -> Any:
    """Return logits where what goes into some linear maps is multiplied by a mask."""
    hooks = [
        linear.register_forward_pre_hook(lambda _m, inputs, mask=mask: (inputs[0] * mask,))
        for linear, mask in masks
    ]
    with torch.inference_mode():
        rows = [
            model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits[0]
            for text in TEXTS
        ]
    for hook in hooks:
        hook.remove()
    return torch.stack(rows).numpy()


def mask(width: int, kept: Sequence[int]) -> torch.Tensor:
    found = torch.zeros(width)
    found[list(kept)] = 1
    return found


def test_heads_cut_out_are_heads_that_say_nothing(material: Material, tmp_path: Path) -> None:
    model, tokenizer = material.load()
    model.eval()
    kept = [[0, 2, 3], [1, 2, 3], [0, 1, 2]]
    units = [[h * WIDTH + i for h in heads for i in range(WIDTH)] for heads in kept]
    expected = masked_logits(
        model,
        tokenizer,
        [(p.mix.linear, mask(32, u)) for p, u in zip(parts_of(model), units, strict=True)],
    )

    pruning.keep_heads(model, kept)
    material.write(model, tmp_path / "pruned")

    np.testing.assert_allclose(engine_logits(tmp_path / "pruned"), expected, atol=2e-5)
    assert np.abs(engine_logits(material.base.folder) - expected).max() > 0.01


def test_neurons_cut_out_are_neurons_that_say_nothing(material: Material, tmp_path: Path) -> None:
    model, tokenizer = material.load()
    model.eval()
    kept = [list(range(first, NEURONS, 2)) for first in (0, 1, 0)]
    expected = masked_logits(
        model,
        tokenizer,
        [(p.down.linear, mask(NEURONS, k)) for p, k in zip(parts_of(model), kept, strict=True)],
    )

    pruning.keep_neurons(model, kept)
    material.write(model, tmp_path / "pruned")

    np.testing.assert_allclose(engine_logits(tmp_path / "pruned"), expected, atol=2e-5)
    assert (tmp_path / "pruned" / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_layers_cut_out_are_passed_over(material: Material, tmp_path: Path) -> None:
    model, tokenizer = material.load()
    model.eval()
    pruning.keep_layers(model, [0, 2])
    expected = masked_logits(model, tokenizer, [])

    material.write(model, tmp_path / "pruned")

    np.testing.assert_allclose(engine_logits(tmp_path / "pruned"), expected, atol=2e-5)
    names = load_file(tmp_path / "pruned" / "model.safetensors")
    assert not any(".layer.2." in name for name in names)


def test_importance_is_the_gradient_of_the_loss_at_a_mask(material: Material) -> None:
    """Against finite differences, a text at a time."""
    model, tokenizer = material.load()
    model.eval()
    rows = Examples(texts=TEXTS[:3], targets=material.rows.targets[:3])
    batches = batches_of(tokenizer, rows.texts, rows.targets, 64, torch.device("cpu"))

    neurons = neuron_importance(model, batches, "single-label")
    heads = head_importance(model, batches, "single-label")

    assert [len(n) for n in neurons] == [NEURONS] * 3
    assert [len(h) for h in heads] == [HEADS] * 3
    parts = parts_of(model)[1]
    by_hand = _finite_difference(model, tokenizer, rows, parts.down.linear, [5])
    assert float(neurons[1][5]) == pytest.approx(by_hand, rel=0.05, abs=1e-3)
    by_hand = _finite_difference(model, tokenizer, rows, parts.mix.linear, range(WIDTH, 2 * WIDTH))
    assert float(heads[1][1]) == pytest.approx(by_hand, rel=0.05, abs=1e-3)


def _finite_difference(
    model: Any, tokenizer: Any, rows: Examples, linear: Any, units: Sequence[int]
) -> float:
    step, total = 1e-2, 0.0
    for text, label in zip(rows.texts, rows.targets, strict=True):
        losses = []
        for sign in (1, -1):
            factor = torch.ones(linear.in_features)
            factor[list(units)] += sign * step
            hook = linear.register_forward_pre_hook(lambda _m, i, factor=factor: (i[0] * factor,))
            with torch.inference_mode():
                logits = model(
                    **tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
                ).logits
            hook.remove()
            losses.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor([label]))))
        total += abs(losses[0] - losses[1]) / (2 * step)
    return total


@pytest.mark.parametrize("heads", [0, HEADS, -1, True, "3", 2.0])
def test_a_number_of_heads_that_cannot_be_is_refused(tmp_path: Path, heads: Any) -> None:
    folder = tiny_model(tmp_path / "model", num_attention_heads=HEADS)
    config = json.loads((folder / "config.json").read_text())
    config["bulkscore_attention_heads"] = heads
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ModelIncompatible, match="bulkscore_attention_heads"):
        load_engine(folder, pin_of(folder), device="cpu", threads=1)


def test_heads_of_another_number_than_stated_are_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", num_attention_heads=HEADS)
    config = json.loads((folder / "config.json").read_text())
    config["bulkscore_attention_heads"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")

    with pytest.raises(ModelIncompatible, match="heads"):
        load_engine(folder, pin_of(folder), device="cpu", threads=1)

    weights.pop("bert.encoder.layer.1.attention.self.key.bias")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelIncompatible):
        load_engine(folder, pin_of(folder), device="cpu", threads=1)
