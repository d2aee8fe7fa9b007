"""How texts are spoilt in the wild, each way a pure function of text and seed.

What a way draws depends on seed, its name and the text alone: the same text is spoilt alike
wherever it stands and on every machine. The ways are those that checklists of robustness name,
such as Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (2020).
"""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from random import Random

TYPO_SHARE = 0.05  # of the letters, one at least
LOOK_ALIKE_SHARE = 0.2  # of the characters that have one, one at least
GAP_SHARE = 0.1  # of the places where a space or a tag may come

_KEYBOARDS = (
    ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    (";ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
)
_GAPS = ("  ", "   ", "\t", "\n", " \u00a0")
# Scripts that put no space between words: Han, kana, Thai.
_UNSPACED = r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]"
_LATIN, _CYRILLIC = "aceijopsxyABCEHIJKMOPSTXY", "асеіјорѕхуАВСЕНІЈКМОРЅТХУ"  # noqa: RUF001
_KANGXI = range(0x2F00, 0x2FD6)  # radicals that look like Han and are other characters


def perturb(name: str, text: str, seed: int) -> str:
    """Return the text spoilt in the way `name`, or as it is where nothing would be left of it.

    Args:
        name: One of `PERTURBATIONS`.
        text: The text.
        seed: Another one draws other letters and places.
    """
    # Random hashes a string with SHA-512, and not with what differs from process to process.
    spoilt = PERTURBATIONS[name](text, Random(f"{seed}\0{name}\0{text}"))
    return spoilt if spoilt.strip() else text


def typos(text: str, chance: Random) -> str:
    """Return the text with letters hit beside, swapped with the next, dropped or doubled."""
    letters = [i for i, character in enumerate(text) if character.isalpha()]
    typed = list(text)
    for place in _some(letters, TYPO_SHARE, chance):
        near = _NEIGHBOURS.get(text[place].lower(), "")
        match chance.choice(("swap", "double", "drop", *(("beside",) if near else ()))):
            case "swap" if text[place + 1 : place + 2].isalpha():
                typed[place], typed[place + 1] = typed[place + 1], typed[place]
            case "beside":
                hit = chance.choice(near)
                typed[place] = hit.upper() if text[place].isupper() else hit
            case "double":
                typed[place] *= 2
            case _:
                typed[place] = ""
    return "".join(typed)


def letter_case(text: str, chance: Random) -> str:
    """Return the text with each word in capitals, small letters, capitalized or swapped."""
    ways = (str.upper, str.lower, str.title, str.swapcase)
    return re.sub(r"\S+", lambda word: chance.choice(ways)(word[0]), text)


def white_space(text: str, chance: Random) -> str:
    """Return the text with wider gaps and ends, and gaps within words that have none."""
    wide = re.sub(r"\s+", lambda _: chance.choice(_GAPS), text)
    inside = rf"(?<={_UNSPACED})(?={_UNSPACED})"
    torn = re.sub(inside, lambda _: " " if chance.random() < GAP_SHARE else "", wide)
    return f"{chance.choice(_GAPS)}{torn}{chance.choice(_GAPS)}"


def look_alikes(text: str, chance: Random) -> str:
    """Return the text with characters of other alphabets and widths that look the same."""
    places = [i for i, character in enumerate(text) if character in LOOK_ALIKES]
    characters = list(text)
    for place in _some(places, LOOK_ALIKE_SHARE, chance):
        characters[place] = LOOK_ALIKES[characters[place]]
    return "".join(characters)


def no_punctuation(text: str, _chance: Random) -> str:
    """Return the text without punctuation (category P of Unicode)."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("P"))


def truncation(text: str, _chance: Random) -> str:
    """Return the first half: of the words, or of the characters where there are few words."""
    words = list(re.finditer(r"\S+", text))
    if len(words) < 4:
        return text[: (len(text) + 1) // 2]
    return text[: words[(len(words) - 1) // 2].end()]


def html_noise(text: str, chance: Random) -> str:
    """Return the text as it looks when taken from a web page with its tags and entities."""
    parts = re.split(rf"(\s+|(?<={_UNSPACED})(?={_UNSPACED}))", text)
    gaps = range(1, len(parts), 2)
    marked = [html.escape(part) for part in parts]
    for gap in _some(gaps, GAP_SHARE, chance):
        marked[gap] = chance.choice(("<br />", "&nbsp;", "\n<br>\n"))
    bold = chance.randrange(0, len(parts), 2)
    marked[bold] = f"<b>{marked[bold]}</b>"
    return f'<p class="c{chance.randrange(100)}">{"".join(marked)}</p>'


PERTURBATIONS: dict[str, Callable[[str, Random], str]] = {
    "typos": typos,
    "case": letter_case,
    "white_space": white_space,
    "look_alikes": look_alikes,
    "no_punctuation": no_punctuation,
    "truncation": truncation,
    "html": html_noise,
}


def _some(places: Sequence[int], share: float, chance: Random) -> list[int]:
    """Return a share of the places, one at least where there are any."""
    return chance.sample(places, min(max(round(share * len(places)), 1), len(places)))


def _neighbours() -> Mapping[str, str]:
    """Return the keys around each key: beside it, and the two above and below."""
    found: dict[str, str] = {}
    for rows in _KEYBOARDS:
        for y, row in enumerate(rows):
            for x, key in enumerate(row):
                around = [(y, x - 1), (y, x + 1), (y - 1, x), (y - 1, x + 1), (y + 1, x - 1)]
                around.append((y + 1, x))
                inside = [(j, i) for j, i in around if 0 <= j < len(rows) and 0 <= i < len(rows[j])]
                found[key] = "".join(rows[j][i] for j, i in inside)
    return found


def _look_alikes() -> Mapping[str, str]:
    found = dict(zip(_LATIN + _CYRILLIC, _CYRILLIC + _LATIN, strict=True))
    found |= {digit: chr(ord(digit) + 0xFEE0) for digit in "0123456789"}
    found |= {chr(ord(mark) + 0xFEE0): mark for mark in "!(),.:;?"}
    return found | {unicodedata.normalize("NFKC", chr(c)): chr(c) for c in _KANGXI}


_NEIGHBOURS = _neighbours()
LOOK_ALIKES = _look_alikes()
