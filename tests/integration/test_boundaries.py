"""The tokens of the parts of a text are those of the text, wherever it is cut."""

import re
import string
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from support.families import tiny_tokenizer
from support.minilm import minilm_encoder
from support.sentence_piece import sentence_piece_tokenizer
from support.texts import ODD
from worker.boundaries import (
    BOUNDARY,
    SEARCHED_CHARACTERS,
    WordBreaks,
    keeps_prefixes,
    prefix,
    word_breaks,
)
from worker.word_split import split, visible_characters

pytestmark = pytest.mark.integration

# WordPiece, byte-level BPE without and with special tokens, Unigram behind two sets of normalizers
# and, with the map of SentencePiece, behind it alone, behind others, and as transformers 4 did it.
WITH_MAP = ("xlm-roberta", "albert", "xlm-roberta of version 4")
# Byte-level BPE with tokens for several spaces.
WITH_SPACES = "modernbert"
# The same with a pattern of its own for pieces.
LLAMA_3 = "llama 3"
TOKENIZERS = (
    *("minilm", "bert", "gpt2", "roberta", "xlnet", "deberta-v2", "qwen2"),
    *(*WITH_MAP, WITH_SPACES, LLAMA_3),
)

# What tokenizers look at: kinds of spaces, marks that join, contractions, special tokens.
ODDITIES = [
    *(
        " ",
        "  ",
        " " * 7,
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u3000",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\x00",
    ),
    *("e\u0301", "\u0301", "ﬁ", "ß", "İ", "Σ", "ς", "ͺ", "´", "ﷺ", "각", "각", "好", "क्ष"),
    *("'s", "'", "``", "''", ".", ",", "-", "▁", "##", "½", "٣", "😀", "👩\u200d👧"),
    *("[SEP]", "[MASK]", "<mask>", "</s>", "<|endoftext|>", "<sep>", "|||IP_ADDRESS|||"),
]
WORDS = ["a", "the", "film", "isn't", "été", "фильм", "ταινία", "영화", "פילם", "فيلم", "7", "1999"]
PART = st.sampled_from(ODDITIES) | st.sampled_from(WORDS) | st.text(max_size=3)
TEXT = st.lists(PART | st.just(" "), max_size=30).map("".join)


@cache
def rust(name: str) -> Any:
    from transformers import AutoTokenizer

    if name in WITH_MAP:
        family, _, of_version_4 = name.partition(" ")
        made = sentence_piece_tokenizer(family).backend_tokenizer
        if of_version_4:
            rules = [
                made.normalizer,
                normalizers.Strip(left=False),
                normalizers.Replace(Regex(" {2,}"), "▁"),
            ]
            made.normalizer = normalizers.Sequence(rules)
            made.pre_tokenizer = pre_tokenizers.Metaspace()
        return made
    if name == WITH_SPACES:
        made = tiny_tokenizer("gpt2").backend_tokenizer
        made.normalizer = normalizers.NFC()
        made.add_tokens([AddedToken(" " * n, normalized=True) for n in range(5, 1, -1)])
        made.add_tokens([AddedToken("|||IP_ADDRESS|||", normalized=True)])
        made.add_special_tokens(["[CLS]", "[SEP]", AddedToken("[MASK]", lstrip=True)])
        return made
    if name == LLAMA_3:
        made = tiny_tokenizer("gpt2").backend_tokenizer
        pattern = PRETOKENIZE_REGEX.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
        pieces = pre_tokenizers.Split(Regex(pattern), "isolated")
        by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([pieces, by_bytes])
        return made
    if name != "minilm":
        return tiny_tokenizer(name).backend_tokenizer
    made = AutoTokenizer.from_pretrained(minilm_encoder()).backend_tokenizer
    made.no_padding()
    made.no_truncation()
    return made


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=150)
@given(before=TEXT, first=st.sampled_from(WORDS), second=st.sampled_from(WORDS), after=TEXT)
@example(before="", first="a", second="a", after=" ".join(ODD.values()))
def test_the_tokens_before_each_boundary_are_those_of_the_whole_text(
    name: str, before: str, first: str, second: str, after: str
) -> None:
    tokenizer = rust(name)
    text = f"{before}{first} {second}{after}"

    whole = tokenizer.encode(text, add_special_tokens=False).ids
    for found in BOUNDARY.finditer(text):
        part = tokenizer.encode(text[: found.start()], add_special_tokens=False).ids
        assert part == whole[: len(part)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_tokenizers_of_the_families_keep_prefixes(name: str) -> None:
    assert keeps_prefixes(rust(name))


def words_of(text: str, breaks: WordBreaks) -> list[str]:
    words, counts = split(pa.array([text], pa.large_string()), breaks)
    assert counts.tolist() == [len(words)]
    found: list[str] = words.to_pylist()
    return found


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=300)
@given(text=TEXT)
@example(text=" ".join(ODD.values()))
@example(text="\n\n ".join(ODD.values()))
@example(text="x<mask>, [SEP]. it's (a-b) <mask> .5 ...a b. x_y _a ''s 's </s>a <s> ")
def test_the_tokens_of_a_text_are_those_of_its_words(name: str, text: str) -> None:
    tokenizer = rust(name)
    breaks = word_breaks(tokenizer)
    assert breaks
    words = words_of(text, breaks)

    encoded = tokenizer.encode_batch(words, add_special_tokens=False)

    whole = tokenizer.encode(text, add_special_tokens=False).ids
    assert "".join(words) == text
    assert [*chain.from_iterable(word.ids for word in encoded)] == whole


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_word_ends_behind_any_visible_character(name: str) -> None:
    tokenizer = rust(name)
    visible = [chr(number) for number in np.flatnonzero(visible_characters())]
    assert len(visible) > 50_000

    words = tokenizer.encode_batch([f"a{one}" for one in visible], add_special_tokens=False)
    [after] = tokenizer.encode_batch([" b"], add_special_tokens=False)
    wholes = tokenizer.encode_batch([f"a{one} b" for one in visible], add_special_tokens=False)

    for one, word, whole in zip(visible, words, wholes, strict=True):
        assert word.ids + after.ids == whole.ids, f"U+{ord(one):04X}"


@pytest.mark.parametrize("name", ["minilm", "bert", "gpt2", "roberta", WITH_SPACES])
def test_words_begin_and_end_at_punctuation_that_is_not_in_a_special_token(name: str) -> None:
    breaks = word_breaks(rust(name))

    assert breaks
    assert words_of("Yes, (a) 1.5\tb", breaks) == [
        "Yes",
        ",",
        " (",
        "a",
        ")",
        " 1",
        ".",
        "5",
        "\tb",
    ]
    special = "".join(token.content for token in rust(name).get_added_tokens_decoder().values())
    kept = set(string.punctuation) - set(special) - set("_'")
    assert set(breaks.punctuation.decode()) == kept


@pytest.mark.parametrize("name", ["xlnet", "deberta-v2", "qwen2", LLAMA_3, *WITH_MAP])
def test_words_of_these_begin_with_spaces_alone(name: str) -> None:
    breaks = word_breaks(rust(name))

    assert breaks == WordBreaks(b" ", b"")
    assert words_of("Yes, a  b\nc d", breaks) == ["Yes,", " a", "  b\nc", " d"]


def test_a_word_does_not_begin_behind_what_cannot_be_seen() -> None:
    breaks = WordBreaks(b" \n", b"")

    assert words_of("a\u200b b\u00a0 c\u3000 d\u0301 e x", breaks) == [
        "a\u200b b\u00a0 c\u3000 d\u0301 e",
        " x",
    ]
    assert words_of("😀 a é b 好 c я d ", breaks) == [
        "😀 a",
        " é",
        " b",
        " 好",
        " c",
        " я",
        " d",
        " ",
    ]
    assert words_of(" a", breaks) == [" a"]
    assert words_of("", breaks) == [""]


def words() -> Tokenizer:
    """Return a tokenizer that keeps prefixes, to be spoilt."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def with_added(content: str) -> Tokenizer:
    return with_token(AddedToken(content))


def with_token(token: AddedToken) -> Tokenizer:
    made = words()
    made.add_tokens([token])
    return made


def with_model(model: Any) -> Tokenizer:
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def with_normalizer(*parts: Any) -> Tokenizer:
    made = words()
    made.normalizer = normalizers.Sequence(list(parts))
    return made


def with_pre_tokenizer(*parts: Any) -> Tokenizer:
    made = words()
    made.pre_tokenizer = pre_tokenizers.Sequence(list(parts))
    return made


@pytest.mark.parametrize(
    "spoilt",
    [
        with_added("new york"),
        with_added("new\u00a0york"),
        with_added(" york"),
        with_model(models.BPE(dropout=0.1)),
        with_normalizer(normalizers.NFC(), normalizers.Replace(Regex("a b"), "c")),
        with_normalizer(normalizers.Replace("a b", "c")),
        with_normalizer(normalizers.Replace(" ", "▁")),
        with_normalizer(normalizers.ByteLevel()),
        with_pre_tokenizer(pre_tokenizers.Digits()),
        with_pre_tokenizer(pre_tokenizers.Split(Regex(r"\S+ \S+"), "isolated")),
        with_pre_tokenizer(pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "merged_with_next")),
        with_pre_tokenizer(pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated", invert=True)),
        with_pre_tokenizer(pre_tokenizers.ByteLevel(use_regex=False)),
        with_pre_tokenizer(
            pre_tokenizers.ByteLevel(use_regex=False),
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
        ),
        with_pre_tokenizer(pre_tokenizers.Metaspace(split=False)),
        with_pre_tokenizer(
            pre_tokenizers.Whitespace(), pre_tokenizers.Split(Regex("a(?= b)"), "isolated")
        ),
        Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")),
    ],
)
def test_a_tokenizer_that_may_look_across_a_boundary_is_known(spoilt: Tokenizer) -> None:
    assert keeps_prefixes(words())
    assert not keeps_prefixes(spoilt)


@pytest.mark.parametrize(
    "spoilt",
    [
        with_added("new york"),
        with_token(AddedToken("<x>", rstrip=True)),
        with_token(AddedToken("<x>", single_word=True)),
        with_normalizer(normalizers.Strip()),
        with_normalizer(normalizers.Strip(right=False)),
        with_normalizer(normalizers.Prepend("a")),
    ],
)
def test_a_tokenizer_that_treats_words_in_a_text_otherwise_is_known(spoilt: Tokenizer) -> None:
    assert word_breaks(words()) == WordBreaks(b" ", b"")
    assert word_breaks(spoilt) is None


def test_words_do_not_break_at_punctuation_that_is_replaced_or_in_a_token() -> None:
    def broken(spoil: Callable[[Tokenizer], object]) -> WordBreaks | None:
        made = with_pre_tokenizer(pre_tokenizers.BertPreTokenizer())
        spoil(made)
        return word_breaks(made)

    def with_replacement(made: Tokenizer) -> None:
        made.normalizer = normalizers.Replace("a.", "b")

    def with_wide_token(made: Tokenizer) -> None:
        made.normalizer = normalizers.NFKC()
        made.add_tokens([AddedToken("a\uff0e", normalized=True)])

    whole = broken(lambda made: None)
    assert whole
    assert b"." in whole.punctuation
    assert broken(with_replacement) == WordBreaks(b" ", b"")
    without_dot = broken(with_wide_token)
    assert without_dot
    assert set(whole.punctuation) - set(without_dot.punctuation) == set(b".")


def test_a_byte_level_tokenizer_that_puts_a_space_before_a_text_breaks_at_spaces_alone() -> None:
    spoilt = with_pre_tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=True))

    assert word_breaks(spoilt) == WordBreaks(b" ", b"")


def test_what_stands_at_a_boundary_is_a_letter_or_digit_in_every_form_of_unicode() -> None:
    every = [chr(number) for number in range(0x10FFFF) if not 0xD800 <= number < 0xE000]
    plain = [one for one in every if re.search(BOUNDARY, f"{one} a")]

    assert len(plain) > 10_000
    assert plain == [one for one in every if re.search(BOUNDARY, f"a {one}")]
    for one in plain:
        forms = {
            one.lower(),
            *(unicodedata.normalize(f, one) for f in ("NFC", "NFD", "NFKC", "NFKD")),
        }
        assert all(unicodedata.category(form[0])[0] in "LN" for form in forms)
        assert not any(letter.isspace() for form in forms for letter in form)


def test_a_text_is_cut_at_its_first_boundary_from_the_least_length_on() -> None:
    assert prefix("one two three", 0) == "one"
    assert prefix("one two three", 4) == "one two"
    assert prefix("one two three", 8) == "one two three"
    assert prefix("one, two  three", 0) == "one, two  three"


def test_a_text_without_a_boundary_nearby_stays_whole() -> None:
    text = "x" * SEARCHED_CHARACTERS + " and more"

    assert prefix(text, 0) == text
    assert prefix(text, 10) == "x" * SEARCHED_CHARACTERS
