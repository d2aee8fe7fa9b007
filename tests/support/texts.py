"""Texts for corpora: ordinary ones by seed, and every awkward kind by name.

The awkward kinds are what real corpora hold and careless readers trip over. Escapes stand for the
invisible characters, so that no editor can lose them.
"""

import itertools
import random

VOCABULARY = """
the a and of it this that was is not very quite rather film story plot hotel room service actor
scene ending music price place food team good great fine fresh warm bright lovely superb bad dull
poor cold dirty slow awful boring weak we they she he i you liked loved enjoyed hated left saw
found thought again always never with for but because
"""
WORDS = VOCABULARY.split()

MILLION = 1_000_000

# Cannot be scored: the row's result carries an error instead.
UNSCORABLE: dict[str, str | None] = {
    "null": None,
    "empty": "",
    "spaces": "   ",
    "white_space": " \t\r\n\u00a0\u2003\u3000",
}

# Can be scored, however odd they look.
ODD: dict[str, str] = {
    "one_letter": "a",
    "nul": "before\x00after",
    "control": "bell\x07 escape\x1b[31m delete\x7f next line\x85",
    "line_breaks": "one\ntwo\r\nthree\u2028four\u2029five",
    "emoji": "great 😀👍🏽 family 👨\u200d👩\u200d👧 flag 🇨🇦",
    "right_to_left": "הסרט היה טוב מאוד والفندق كان جميلا",
    "bidi_override": "file\u202egpj.exe",
    "chinese": "这家酒店的服务很好，房间也很干净。",
    "japanese": "この映画はとても面白かったです。",
    "thai": "หนังเรื่องนี้ดีมาก",
    "combining": "e\u0301 n\u0303 Z" + "\u0351\u036b\u0343" * 20,
    "zero_width": "in\u200bvis\u200dible\ufeff",
    "replacement": "broken \ufffd long ago",
    "markup": "<s>[CLS] text </s>[SEP] &amp; <br/>",
    "csv_like": '"quoted", "with ""doubles""",\\N',
    "one_long_word": "x" * 5_000,
    "astral": "\U00020000\U0001d54f\U0010ffff",
}


def ordinary_texts(count: int, seed: int = 0, *, longest: int = 40) -> list[str]:
    """Make English-looking texts of 1 to `longest` words; most of them are short."""
    chooser = random.Random(seed)
    return [
        " ".join(chooser.choices(WORDS, k=1 + int((longest - 1) * chooser.random() ** 2)))
        for _ in range(count)
    ]


def distinct_texts(count: int) -> list[str]:
    """Make texts of equal length, no two alike: equal ones would be scored once."""
    words = [word for word in WORDS if len(word) == 4]
    combinations = itertools.islice(itertools.product(words, repeat=5), count)
    return [" ".join(words) for words in combinations]


def long_text(characters: int = MILLION, seed: int = 0) -> str:
    """Make one text of exactly so many characters, ending in a letter."""
    words = " ".join(random.Random(seed).choices(WORDS, k=characters // 2 + 1))
    return words[: characters - 1] + "z"


def awkward_texts() -> dict[str, str | None]:
    """Return every awkward text by the name of its kind, the longest one included."""
    return {**UNSCORABLE, **ODD, "million_characters": long_text()}


def invalid_utf8() -> dict[str, bytes]:
    """Return byte strings that are not UTF-8, by the name of what is wrong."""
    return {
        "latin1": "café".encode("latin-1"),
        "cut_short": "很".encode()[:2],
        "lone_continuation": b"a\x80b",
        "surrogate": b"\xed\xa0\x80",
        "overlong": b"\xc0\xaf",
        "utf16": "good".encode("utf-16"),
        "never_valid": b"\xff\xfe\xfd",
    }
