"""Each way to run a model gives the logits that transformers gives each row alone."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForSequenceClassification

from schemas.model_families import FAMILIES
from support.families import save_tiny_classifier
from worker.engine import fused, packed
from worker.engine.batched import Classifier
from worker.engine.fused import FusedClassifier
from worker.engine.heads import HEADS
from worker.engine.linear import FUSED_ACTIVATIONS, make_linear
from worker.engine.loading import make_classifier
from worker.engine.packed import PackedClassifier
from worker.engine.padded import PaddedClassifier

TOLERANCE = 1e-5
CPU = torch.device("cpu")
FUSED = ("bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "roberta")

Make = Callable[..., Classifier]


@pytest.fixture
def model_of(tmp_path: Path) -> Callable[..., Any]:
    """Load a tiny model anew each time: a classifier may take it apart."""

    def load(model_type: str, *, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
        shutil.rmtree(tmp_path)
        save_tiny_classifier(tmp_path, model_type, **config)
        attention = FAMILIES[model_type].attention
        found = AutoModelForSequenceClassification.from_pretrained(
            tmp_path, dtype=dtype, attn_implementation=attention
        )
        return found.eval()

    return load


def rows_of(lengths: list[int], vocabulary: int = 300) -> list[NDArray[np.int32]]:
    """Return rows of random ids, none of them that of a special token."""
    random = np.random.default_rng(0)
    return [random.integers(10, vocabulary, n, dtype=np.int32) for n in lengths]


ROWS = rows_of([100, 100, 64, 17, 17, 17, 5, 1])


def plain(model: Any, rows: list[NDArray[np.int32]] = ROWS) -> NDArray[np.float32]:
    """Return what the model itself says of each row alone."""
    with torch.inference_mode():
        found = [model(torch.from_numpy(row.astype(np.int64))[None]).logits[0] for row in rows]
    return torch.stack(found).float().numpy()


def scored(classifier: Classifier, rows: list[NDArray[np.int32]] = ROWS) -> NDArray[np.float32]:
    with torch.inference_mode():
        return classifier(rows).float().numpy()


@pytest.mark.parametrize("model_type", sorted(HEADS))
def test_one_row_of_tokens_gives_each_text_the_logits_it_has_alone(
    model_type: str, model_of: Callable[..., Any]
) -> None:
    expected = plain(model_of(model_type))
    model = model_of(model_type)
    assert packed.supports(model.config)

    classifier = PackedClassifier(model, FAMILIES[model_type], device=CPU)

    assert expected.std() > 0.05  # else agreement would prove nothing
    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


@pytest.mark.parametrize("model_type", [*FUSED, "xlm-roberta"])
def test_the_fused_encoder_gives_each_text_the_logits_it_has_alone(
    model_type: str, model_of: Callable[..., Any]
) -> None:
    expected = plain(model_of(model_type))
    model = model_of(model_type)
    assert fused.supports(model.config)

    classifier = FusedClassifier(model, FAMILIES[model_type], device=CPU)

    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


@pytest.mark.parametrize("activation", sorted(FUSED_ACTIVATIONS))
def test_the_fused_encoder_knows_every_activation_it_claims(
    activation: str, model_of: Callable[..., Any]
) -> None:
    expected = plain(model_of("bert", hidden_act=activation))

    classifier = FusedClassifier(
        model_of("bert", hidden_act=activation), FAMILIES["bert"], device=CPU
    )

    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("mistral", {"sliding_window": 8}),
        ("modernbert", {"local_attention": 16}),
        ("qwen3", {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 1}),
    ],
    ids=["mistral", "modernbert", "qwen3"],
)
def test_a_window_of_attention_stays_within_its_text(
    model_type: str, config: dict[str, Any], model_of: Callable[..., Any]
) -> None:
    expected = plain(model_of(model_type, **config))
    without = plain(model_of(model_type))
    model = model_of(model_type, **config)

    classifier = PackedClassifier(model, FAMILIES[model_type], device=CPU)

    assert not np.allclose(expected, without, atol=TOLERANCE)  # the window is in force
    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "modernbert"])
def test_half_precision_stays_close_to_full(
    model_type: str, dtype: torch.dtype, model_of: Callable[..., Any]
) -> None:
    expected = plain(model_of(model_type))

    classifier = make_classifier(model_of(model_type, dtype=dtype), FAMILIES[model_type], CPU)

    np.testing.assert_allclose(scored(classifier), expected, atol=0.1)


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("bert", FusedClassifier),
        ("distilbert", FusedClassifier),
        ("gpt2", PackedClassifier),
        ("modernbert", PackedClassifier),
        ("deberta-v2", PaddedClassifier),
        ("xlnet", PaddedClassifier),
    ],
)
def test_a_model_is_run_in_the_fastest_way_its_family_allows(
    model_type: str, kind: type, model_of: Callable[..., Any]
) -> None:
    made = make_classifier(model_of(model_type), FAMILIES[model_type], CPU)

    assert type(made) is kind


def test_a_model_that_pools_over_all_tokens_is_padded(model_of: Callable[..., Any]) -> None:
    model = model_of("modernbert", classifier_pooling="mean")
    expected = plain(model)

    classifier = make_classifier(model, FAMILIES["modernbert"], CPU)

    assert type(classifier) is PaddedClassifier
    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


def test_an_activation_without_a_fused_form_is_left_to_transformers(
    model_of: Callable[..., Any],
) -> None:
    expected = plain(model_of("bert", hidden_act="silu"))

    classifier = make_classifier(model_of("bert", hidden_act="silu"), FAMILIES["bert"], CPU)

    assert type(classifier) is PackedClassifier
    np.testing.assert_allclose(scored(classifier), expected, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 5_000])
def test_linear_layers_side_by_side_compute_what_each_does_alone(
    rows: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(48, 32).to(dtype) for _ in range(3)]
    x, other = torch.randn(rows, 48, dtype=dtype), torch.randn(rows, 96, dtype=dtype)
    norm = nn.LayerNorm(96).to(dtype)
    nn.init.normal_(norm.weight)
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    with torch.inference_mode():
        expected = torch.cat([layer.double()(x.double()) for layer in layers], dim=1)
        normed = copy.deepcopy(norm).double()(expected + other.double())
        made = make_linear([layer.to(dtype) for layer in layers], "gelu")
        found = made(x), made.activated(x), made.added_normed(x, other, norm)

    for got, wanted in zip(found, (expected, nn.functional.gelu(expected), normed), strict=True):
        torch.testing.assert_close(got.double(), wanted, atol=tolerance, rtol=tolerance)
