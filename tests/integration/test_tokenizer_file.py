"""A model whose tokenizer does not follow its file is told of, and can be made to follow it."""

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models

from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import change_json, save_tiny_classifier
from support.minilm import minilm_encoder
from support.sentence_piece import save_sentence_piece, sentence_piece_tokenizer
from worker.model_store import ModelStore
from worker.models import load_model
from worker.tokenizer import Tokenizer

pytestmark = pytest.mark.integration

FAMILIES = ("albert", "bert", "deberta-v2", "gpt2", "modernbert", "roberta", "xlnet")


@pytest.fixture
def of_version_4(tmp_path: Path) -> Path:
    """A DeBERTa with the rules that transformers 4 took from its file of SentencePiece."""
    folder = save_tiny_classifier(tmp_path / "deberta", "deberta-v2")
    rules = json.loads(sentence_piece_tokenizer("xlm-roberta").backend_tokenizer.to_str())
    change_json(folder / "tokenizer.json", normalizer=rules["normalizer"])
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizers_of_this_version_are_like_their_files(tmp_path: Path, family: str) -> None:
    assert Tokenizer(save_tiny_classifier(tmp_path, family), 16).unlike_file == ()


def test_that_of_a_real_model_is_like_its_file() -> None:
    assert Tokenizer(minilm_encoder(), 16).unlike_file == ()


def test_without_such_a_file_there_is_nothing_to_be_unlike(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, "xlnet")
    save_sentence_piece(folder, "xlnet")
    tokenizer = Tokenizer(folder, 16)

    assert tokenizer.encode(["the ﬁne dog"]).ids[0].size > 3
    assert tokenizer.unlike_file == ()


def test_rules_of_the_file_that_are_not_followed_are_found(of_version_4: Path) -> None:
    unlike = Tokenizer(of_version_4, 16).unlike_file

    assert "combined characters" in unlike
    assert "letters of other scripts" not in unlike


def test_a_tokenizer_that_fails_at_a_text_is_loaded_and_like_its_file(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, "bert")
    known = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))
    known.save(str(folder / "tokenizer.json"))
    change_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(Exception, match=r"UNK"):
        known.encode("b")

    tokenizer = Tokenizer(folder, 16)

    assert tokenizer.unlike_file == ()
    assert tokenizer.encode(["a", "b"]).failed.tolist() == [False, True]


def test_with_the_class_that_follows_it_the_file_decides(of_version_4: Path) -> None:
    change_json(of_version_4 / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = Tokenizer(of_version_4, 16)

    ligature, letters = tokenizer.encode(["the ﬁne dog", "the fine dog"]).ids

    assert tokenizer.unlike_file == ()
    assert ligature.tolist() == letters.tolist()


def test_whatever_loads_such_a_model_warns(
    of_version_4: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage()
    pin = pin_model(storage, str(of_version_4))

    load_model(ModelStore(storage, tmp_path / "cache"), pin, device="cpu", threads=1)

    (told,) = [r.getMessage() for r in caplog.records if "tokenizer.json" in r.getMessage()]
    assert told.startswith(f"model {pin.ref}: transformers ")
    assert "combined characters" in told
