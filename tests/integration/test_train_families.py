"""Each family is trained, saved, loaded by the scoring engine and scored, without padding's help.

The weights start random and large, so that a wrong mask, side of padding or token type shows.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from support.sentence_piece import save_sentence_piece, sentence_piece_tokenizer
from support.sentences import sentences
from worker.engine.loading import load_engine
from worker.lifecycle.optimizers import parameter_groups
from worker.lifecycle.train_base import describe_base
from worker.lifecycle.train_model import load_base
from worker.lifecycle.train_out import FolderOut
from worker.lifecycle.train_recipe import Recipe, Sources
from worker.lifecycle.train_run import train
from worker.tokenizer import Tokenizer

FAMILIES = (
    *("bert", "roberta", "distilbert", "xlnet"),
    *("gpt2", "deberta-v2", "modernbert", "xlm-roberta"),
)
TOLERANCE = 2e-4  # of logits of about 1, in fp32
TEXTS = [
    "awful",
    "a ﬁne room, ½ price",
    "the room was lovely and the view superb",
    "a broken breakfast with a view " * 5,
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", [*FAMILIES, "bilstm"])
def test_a_family_is_trained_saved_loaded_and_scored_independent_of_padding(
    tmp_path: Path, family: str
) -> None:
    base = save_tiny_classifier(tmp_path / "base", family)
    data = tmp_path / "data.parquet"
    sentences(96, seed=1).write_parquet(data)
    recipe = Recipe(base=base, new_head=True, epochs=2, batch_rows=16, max_length=64)

    metrics = train(recipe, Sources(data=(str(data),)), FolderOut(tmp_path / "out"))

    pin = pin_model(Storage(), str(tmp_path / "out"))
    engine = load_engine(tmp_path / "out", pin, device="cpu", dtype="fp32", threads=1)
    ids = Tokenizer(tmp_path / "out", 64).encode(TEXTS).ids
    together = engine.forward(ids)
    alone = np.concatenate([engine.forward([row]) for row in ids])
    assert (pin.model_type, pin.labels, metrics.steps) == (family, ("0", "1"), 12)
    assert together == pytest.approx(alone, abs=TOLERANCE)
    assert together == pytest.approx(padded_logits(tmp_path / "out", TEXTS), abs=TOLERANCE)
    assert np.ptp(together) > 10 * TOLERANCE


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "xlm-roberta", "xlnet"])
def test_a_base_with_the_file_of_sentence_piece_is_trained_and_scored_by_its_tokens(
    tmp_path: Path, family: str
) -> None:
    base = save_sentence_piece(save_tiny_classifier(tmp_path / "base", family), family)
    data = tmp_path / "data.parquet"
    sentences(32, seed=1).write_parquet(data)
    recipe = Recipe(base=base, new_head=True, epochs=1, batch_rows=16, max_length=64)

    train(recipe, Sources(data=(str(data),)), FolderOut(tmp_path / "out"))

    pin = pin_model(Storage(), str(tmp_path / "out"))
    engine = load_engine(tmp_path / "out", pin, device="cpu", dtype="fp32", threads=1)
    ids = Tokenizer(tmp_path / "out", 64).encode(TEXTS).ids
    expected = sentence_piece_tokenizer(family)(TEXTS, truncation=True, max_length=64)["input_ids"]
    assert [row.tolist() for row in ids] == expected
    assert engine.forward(ids) == pytest.approx(
        padded_logits(tmp_path / "out", TEXTS), abs=TOLERANCE
    )


def padded_logits(folder: Path, texts: list[str]) -> np.ndarray:
    """Return what the model makes of a padded batch, as it was trained."""
    base = describe_base(folder, str(folder), "trained")
    recipe = Recipe(base=folder)
    model, tokenizer = load_base(base, recipe, "single-label", ("0", "1"))
    cut = {"truncation": True, "max_length": 64}
    batch = tokenizer(texts, padding=True, return_tensors="pt", **cut)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return model.eval()(**inputs).logits.numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_biases_and_norms_do_not_decay_whatever_a_family_calls_them(
    tmp_path: Path, family: str
) -> None:
    folder = save_tiny_classifier(tmp_path / "base", family)
    base = describe_base(folder, str(folder), "base")
    model, _ = load_base(base, Recipe(base=folder), "single-label", ("a", "b", "c"))
    norms = {
        id(weight)
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
        for weight in module.parameters(recurse=False)
    }
    biases = {
        id(w) for name, w in model.named_parameters() if name.endswith("bias") and w.dim() < 2
    }

    decaying, constant = parameter_groups(model, 0.01)

    kept = {id(weight) for weight in constant["params"]}
    assert norms
    assert norms | biases <= kept
    assert not kept & {id(weight) for weight in decaying["params"]}
    assert (decaying["weight_decay"], constant["weight_decay"]) == (0.01, 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_layers_are_those_below(tmp_path: Path, family: str) -> None:
    folder = save_tiny_classifier(tmp_path / "base", family)
    base = describe_base(folder, str(folder), "base")
    recipe = Recipe(base=folder, freeze_layers=1, dropout=0.3)

    model, _ = load_base(base, recipe, "single-label", ("a", "b", "c"))

    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    frozen = {name for name, _ in model.named_parameters()} - trained
    assert any("embed" in name or "wte" in name for name in frozen)
    assert {name.split(".1.")[0] for name in trained if ".1." in name}
    assert not [name for name in frozen if ".1." in name]
    assert not [name for name in trained if ".0." in name and "head" not in name]
    assert 0.3 in {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
