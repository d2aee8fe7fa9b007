"""Weights in 8 bits are as near as promised, and nothing else is taken for them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from schemas.errors import ModelIncompatible
from worker.engine import int8_weights
from worker.engine.int8_weights import FORMAT_KEY, quantize, restore


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    spread = torch.logspace(-4, 2, 40)[:, None]
    return {
        "layer.weight": torch.randn(40, 300) * spread,
        "layer.bias": torch.randn(40),
        "zeros.weight": torch.zeros(3, 5),
        "classifier.weight": torch.randn(2, 300),
    }


def test_every_number_is_within_half_a_step_of_its_row(weights: dict[str, torch.Tensor]) -> None:
    found = restore(quantize(weights))

    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        step = weight.abs().amax(-1, keepdim=True) / 127 if weight.dim() == 2 else 0.0
        assert ((found[name] - weight).abs() <= step * 0.5001).all(), name


def test_rounding_again_changes_nothing(weights: dict[str, torch.Tensor]) -> None:
    once = quantize(weights)

    twice = quantize(restore(once))

    assert torch.equal(once["layer.weight.int8"], twice["layer.weight.int8"])


def test_what_is_kept_and_what_is_no_matrix_stays_as_it_is(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"

    int8_weights.write(quantize(weights, keep={"classifier.weight"}), path)

    assert int8_weights.is_int8(path)
    found = int8_weights.read(path)
    for name in ("layer.bias", "classifier.weight", "zeros.weight"):
        assert torch.equal(found[name], weights[name])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("layer.weight.scale"),
        lambda s: s.update({"layer.weight.scale": torch.ones(39)}),
        lambda s: s["layer.weight.scale"].fill_(float("nan")),
        lambda s: s["layer.weight.scale"].zero_(),
        lambda s: s.update({"layer.weight.int8": torch.ones(40, 300)}),
        lambda s: s.update({"layer.weight": torch.ones(40, 300)}),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    weights: dict[str, torch.Tensor], change: object
) -> None:
    stored = quantize(weights)
    change(stored)  # type: ignore[operator]

    with pytest.raises(ModelIncompatible, match=r"layer\.weight"):
        restore(stored)


def test_a_format_of_the_future_is_refused_and_a_plain_file_is_none(tmp_path: Path) -> None:
    for name, metadata in (("plain", {"format": "pt"}), ("new", {FORMAT_KEY: "int4-groups-1"})):
        save_file({"a": torch.ones(1)}, tmp_path / name, metadata=metadata)

    assert not int8_weights.is_int8(tmp_path / "plain")
    with pytest.raises(ModelIncompatible, match="use a newer one"):
        int8_weights.is_int8(tmp_path / "new")
