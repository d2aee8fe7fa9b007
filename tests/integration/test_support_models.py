"""The tiny models that other tests rely on are real, repeatable and decide between labels."""

from pathlib import Path
from statistics import median

import pytest

from support.models import reference_logits, tiny_model
from support.texts import ordinary_texts

pytest.importorskip("torch", reason="needs the extra `worker`")

pytestmark = pytest.mark.integration

FAMILIES = (
    *("bert", "roberta", "distilbert", "electra"),
    *("xlnet", "gpt2", "deberta-v2", "modernbert"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_uses_both_labels_with_wide_margins(tmp_path: Path, family: str) -> None:
    path = tiny_model(tmp_path / "model", family)

    logits = reference_logits(path, ordinary_texts(60, seed=5))

    positive = sum(right > left for left, right in logits)
    assert 12 <= positive <= 48
    assert median(abs(right - left) for left, right in logits) > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_decides_every_byte_of_a_tiny_model(tmp_path: Path, family: str) -> None:
    first, second, other = (
        tiny_model(tmp_path / str(number), family, seed=seed)
        for number, seed in enumerate((7, 7, 8))
    )

    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in first.iterdir()} == names
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)
    weights = "model.safetensors"
    assert (first / weights).read_bytes() != (other / weights).read_bytes()


def test_a_tiny_regression_has_one_logit_and_says_what_it_is(tmp_path: Path) -> None:
    from transformers import AutoConfig

    path = tiny_model(tmp_path / "m", labels=["stars"], problem_type="regression", hidden=16)

    config = AutoConfig.from_pretrained(path)
    assert config.problem_type == "regression"
    assert config.hidden_size == 16
    assert len(reference_logits(path, ["good"])[0]) == 1


def test_a_tiny_model_can_have_many_labels_of_which_several_hold(tmp_path: Path) -> None:
    from transformers import AutoConfig

    labels = ["anger", "fear", "joy"]
    path = tiny_model(tmp_path / "m", labels=labels, problem_type="multi_label_classification")

    config = AutoConfig.from_pretrained(path)
    assert [config.id2label[number] for number in range(3)] == labels
    assert len(reference_logits(path, ["good"])[0]) == 3
