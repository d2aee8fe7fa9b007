"""Texts are spoilt as the name says, in every script, and alike whenever they are."""

import subprocess
import sys
import unicodedata
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lifecycle.perturbations import PERTURBATIONS, perturb

ENGLISH = "A delightful film, isn't it? We saw it 3 times, and liked it more each time."
CHINESE = "这家酒店的服务很好，房间也很干净。大人小孩都喜欢，下次还会再来住一晚。"
RUSSIAN = "Очень хороший фильм, спасибо! Мы смотрели его три раза."
ARABIC = "الفندق جميل جدا والخدمة ممتازة في كل مرة"
TEXTS = (ENGLISH, CHINESE, RUSSIAN, ARABIC)

NAMES = pytest.mark.parametrize("name", list(PERTURBATIONS))
plain_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


@NAMES
@settings(deadline=None, max_examples=30)
@given(text=plain_texts, seed=st.integers(0, 9))
def test_a_text_is_spoilt_alike_each_time_and_never_to_nothing(
    name: str, text: str, seed: int
) -> None:
    spoilt = perturb(name, text, seed)

    assert spoilt == perturb(name, text, seed)
    assert bool(spoilt.strip()) == bool(text.strip()) or name == "html"


def test_another_process_spoils_alike() -> None:
    program = (
        "from worker.lifecycle.perturbations import *\n"
        f"print(ascii([perturb(n, t, 7) for n in PERTURBATIONS for t in {TEXTS!r}]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    here = [perturb(name, text, 7) for name in PERTURBATIONS for text in TEXTS]
    assert done.stdout.strip() == ascii(here)


@pytest.mark.parametrize("text", TEXTS)
def test_another_seed_makes_other_typos_and_few(text: str) -> None:
    spoilt = [perturb("typos", text, seed) for seed in range(20)]

    assert len(set(spoilt)) > 10
    for each in spoilt:
        assert 1 <= edits(text, each) <= 2 * max(1, round(0.05 * len(letters(text))))


def test_a_key_beside_is_hit_on_the_keyboard_of_the_script() -> None:
    hit = {perturb("typos", "q", seed) for seed in range(60)} - {"q", "qq"}
    cyrillic = {perturb("typos", "й", seed) for seed in range(60)} - {"й", "йй"}

    assert hit == {"w", "a"}
    assert cyrillic == {"ц", "ф"}
    assert {perturb("typos", "好店", seed) for seed in range(60)} == {
        *("好", "店", "好好店", "好店店", "店好")
    }


def test_case_changes_nothing_but_case_and_nothing_where_there_is_none() -> None:
    for text in (ENGLISH, RUSSIAN):
        spoilt = perturb("case", text, 0)
        assert spoilt != text
        assert spoilt.lower() == text.lower()
    assert perturb("case", CHINESE, 0) == CHINESE
    assert perturb("case", ARABIC, 0) == ARABIC


@pytest.mark.parametrize("text", TEXTS)
def test_white_space_changes_nothing_but_white_space(text: str) -> None:
    spoilt = perturb("white_space", text, 0)

    assert spoilt != text
    assert "".join(spoilt.split()) == "".join(text.split())


def test_white_space_tears_words_only_where_a_script_has_no_spaces() -> None:
    assert len(perturb("white_space", CHINESE, 0).split()) > 1
    for text in (ENGLISH, RUSSIAN, ARABIC):
        assert perturb("white_space", text, 0).split() == text.split()


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, RUSSIAN])
def test_look_alikes_are_other_characters_in_the_same_places(text: str) -> None:
    spoilt = perturb("look_alikes", text, 0)

    pairs = [(a, b) for a, b in zip(text, spoilt, strict=True) if a != b]
    assert pairs
    for before, after in pairs:
        other_script = _script(before) != _script(after)
        assert other_script or unicodedata.normalize("NFKC", after) in (before, after)


def test_han_has_radicals_that_look_like_it() -> None:
    assert perturb("look_alikes", "人", 0) == "\u2f08"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It's (really) good!", "Its really good"),
        ("很好，干净。", "很好干净"),
        ("¿Qué tal?", "Qué tal"),
        ("!!!", "!!!"),
        ("5 $ + 3 €", "5 $ + 3 €"),
    ],
)
def test_punctuation_is_dropped_and_symbols_stay(text: str, left: str) -> None:
    assert perturb("no_punctuation", text, 0) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("one two  three four", "one two"),
        ("one two three four five", "one two three"),
        ("很好很干净", "很好很"),
        ("a", "a"),
    ],
)
def test_the_first_half_is_left_of_words_or_of_characters(text: str, left: str) -> None:
    assert perturb("truncation", text, 3) == left


def test_html_holds_the_text_with_tags_and_entities() -> None:
    spoilt = perturb("html", 'Fish & "chips" <3 ' + ENGLISH, 0)

    assert spoilt.startswith("<p ")
    assert "&amp;" in spoilt
    assert "&lt;3" in spoilt
    assert "<b>" in spoilt
    assert "<br" in perturb("html", CHINESE, 0) + perturb("html", CHINESE, 1)


@NAMES
def test_what_is_drawn_depends_on_the_given_chance_alone(name: str) -> None:
    way = PERTURBATIONS[name]

    assert way(ENGLISH, Random(3)) == way(ENGLISH, Random(3))


def edits(before: str, after: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(after) + 1))
    for i, a in enumerate(before, start=1):
        previous, row[0] = row[0], i
        for j, b in enumerate(after, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def _script(character: str) -> str:
    return unicodedata.name(character).split()[0]
