"""Words are tokenized when they are met first, and remembered as long as they come again."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.job import LongText
from support.families import save_tiny_classifier, tiny_tokenizer
from worker import lexicon, texts
from worker.tokenizer import Tokenizer
from worker.words import Words, words_of

pytestmark = pytest.mark.integration


class Watched:
    """A Rust tokenizer that tells what it was asked for."""

    def __init__(self, rust: Any) -> None:
        self._rust = rust
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rust, name)

    def encode_batch(self, texts: Sequence[Sequence[str]], **options: Any) -> Any:
        self.asked.extend(chain.from_iterable(texts))
        return self._rust.encode_batch(texts, **options)


@pytest.fixture
def watched() -> Watched:
    return Watched(tiny_tokenizer("bert").backend_tokenizer)


@pytest.fixture
def bert(watched: Watched) -> Words:
    found = words_of(watched)
    assert found
    watched.asked.clear()
    return found


def ids_of(bert: Words, *texts: str) -> list[list[int]]:
    found = bert.passages(pa.array(texts, pa.large_string()), 64, lambda _tokens: (0,))
    assert not found.long.any()
    return found.rows.to_pylist()


def test_a_word_is_tokenized_when_it_is_met_first_and_never_again(
    watched: Watched, bert: Words
) -> None:
    ids_of(bert, "the dull dull film", "dull")
    ids_of(bert, "dull style, the film")

    assert watched.asked == ["the", " dull", " film", "dull", " style", ",", " the"]


def test_ids_are_those_of_the_texts(watched: Watched, bert: Words) -> None:
    texts = ["the lazy dog.", "", " style", "什么 数据", "the lazy dog. (style)\n\ndull"]

    assert ids_of(bert, *texts) == [watched.encode(text).ids for text in texts]


def test_a_longer_text_has_the_passages_that_are_asked_for(watched: Watched, bert: Words) -> None:
    texts = ["the lazy dog " * 9, "dull", "what a dull story " * 9]

    found = bert.passages(pa.array(texts, pa.large_string()), 10, lambda tokens: (0, tokens - 10))

    expected = []
    for text in texts:
        for side in ("right", "left") if len(text) > 10 else ("right",):
            watched.enable_truncation(12, direction=side)
            expected.append(watched.encode(text).ids)
    assert found.rows.to_pylist() == expected
    assert found.counts.tolist() == [2, 1, 2]
    assert found.long.tolist() == [True, False, True]


def test_words_that_are_not_met_again_are_forgotten_when_there_are_too_many(
    watched: Watched, bert: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexicon, "REMEMBERED_CHARACTERS", 40)
    ids_of(bert, "the lazy dog")
    ids_of(bert, "the lazy style")
    ids_of(bert, "a film that is longer than forty characters")
    watched.asked.clear()

    found = ids_of(bert, "the lazy dog")

    assert watched.asked == [" dog"]
    assert found == [watched.encode("the lazy dog").ids]


def test_what_was_interrupted_leaves_the_words_as_they_were(
    watched: Watched, bert: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids_of(bert, "the lazy dog")
    with monkeypatch.context() as patch:
        patch.setattr(bert._lexicon, "_rust", None)
        with pytest.raises(AttributeError):
            ids_of(bert, "the dull film")

    assert ids_of(bert, "the dull dog") == [watched.encode("the dull dog").ids]


def test_all_words_are_forgotten_when_too_many_come_again(
    watched: Watched, bert: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexicon, "REMEMBERED_CHARACTERS", 8)
    ids_of(bert, "the lazy dog")
    watched.asked.clear()

    found = [ids_of(bert, "the lazy dog") for _ in range(3)]

    assert watched.asked == 3 * ["the", " lazy", " dog"]
    assert found == 3 * [[watched.encode("the lazy dog").ids]]


@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_several_threads_give_the_ids_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_text: LongText
) -> None:
    folder = save_tiny_classifier(tmp_path / "gpt2", "gpt2")
    numbers = np.random.default_rng(0).integers(0, 3_000, size=(400, 12))
    corpus = [" ".join(map(str, row)) for row in numbers]
    alone = Tokenizer(folder, 16, threads=1).encode(corpus, long_text)
    monkeypatch.setattr(texts, "BATCH_BYTES", 200)

    found = Tokenizer(folder, 16, threads=4).encode(corpus, long_text)

    assert found.rows.equals(alone.rows)
    assert len(set(map(tuple, alone.rows.to_pylist()))) > len(alone.rows) // 2
    assert found.passages.tolist() == alone.passages.tolist()


def test_more_text_than_is_looked_at_at_once_comes_out_in_order(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path / "bert", "bert")
    many = [f"{number} {'dull ' * 1_000}" for number in range(texts.BATCH_BYTES // 4_000)]
    by_text = Tokenizer(folder, 16)
    by_text._words = None

    found = Tokenizer(folder, 16).encode(many)

    assert [ids.tolist() for ids in found.ids] == [ids.tolist() for ids in by_text.encode(many).ids]
    assert found.truncated.all()
