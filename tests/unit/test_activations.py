"""What is said to be idle in the feed-forward part is idle."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.models import tiny_model
from support.texts import ordinary_texts
from worker.engine.encoder_parts import parts_of
from worker.lifecycle.activations import Activations, _shares, activations_of
from worker.tokenizer import Tokenizer


def measured(folder: Path) -> list[Activations] | None:
    pin = pin_model(Storage(), str(folder))
    return activations_of(folder, pin, Tokenizer(folder, 64), ordinary_texts(8, seed=3))


def test_negligible_are_the_smallest_that_hold_a_hundredth_of_the_norm_together() -> None:
    # Of the norm 1: 0.006 and 0.007 hold 0.0092 together, and 0.0136 with 0.01.
    first = [1.0, 0.006, -0.007, 0.01, 0.0]
    second = [0.006, -1.0, 0.0, 0.0, 0.0]

    zero, negligible, skippable, tokens = _shares(torch.tensor([first, second])).tolist()

    assert tokens == 2
    assert zero == pytest.approx(4 / 10)
    assert negligible == pytest.approx((3 + 4) / 10)
    assert skippable == pytest.approx(2 / 5)  # -0.007 with 0, and 0 with 0


def test_neurons_that_relu_keeps_silent_are_found_and_gelu_has_hardly_any(tmp_path: Path) -> None:
    dense = measured(tiny_model(tmp_path / "gelu"))
    sparse = tiny_model(tmp_path / "relu", hidden_act="relu")
    model = AutoModelForSequenceClassification.from_pretrained(sparse)
    for parts in parts_of(model):
        half = len(parts.up.linear.bias) // 2
        parts.up.linear.bias.data[:half] = -100.0
    model.save_pretrained(sparse)

    silent = measured(sparse)

    assert dense is not None
    assert silent is not None
    assert all(layer.zero < 0.01 and layer.skippable < 0.05 for layer in dense)
    assert all(layer.zero >= 0.5 and 0.5 <= layer.skippable < 0.8 for layer in silent)
    assert measured(tiny_model(tmp_path / "gpt2", "gpt2")) is None
