r"""Where a text can be cut so that its tokens are those of its parts.

A **boundary** is a single space between two plain letters or digits. Where a tokenizer does nothing
that looks across one, the tokens of the text before a boundary are the first tokens of the whole
text, to the last one. Its parts are known by name, and each holds for a reason:

- No normalizer joins or moves characters across a boundary: letters and spaces start a character
  of their own in every form of Unicode, and only spaces next to spaces are ever collapsed.
- The pre-tokenizer ends a piece there, whatever follows: one part of it splits at spaces, of which
  one between letters is the whole run, and the others look at pieces or characters.
- The model makes tokens of each piece by itself.
- No added token reaches across: each is without white space or, as in ModernBERT, nothing else.

A part that is not named here makes a tokenizer of which nothing is known, and its texts stay whole.

A **word** begins with a text, with white space right behind a visible character, and where a
letter or digit of ASCII meets its punctuation. Its tokens are the same alone as within a text
where, beyond all that,

- nothing is done to the start or the end of a text alone: nothing is put before it that does not
  stand there already, and nothing is taken away but white space behind it. A word that another
  follows ends in a visible character, and the last one ends as the text does;
- no added token takes the white space behind it along, asks what stands beside it, or holds such
  punctuation, and no normalizer replaces what does;
- the pre-tokenizer ends a piece at all of these places. Those of SentencePiece's models, of Qwen
  and of Llama do at spaces only.
"""

import json
import re
import string
from itertools import chain, takewhile
from typing import Any, NamedTuple

# Letters that are the same under all four normal forms, or turn into letters and accents.
_PLAIN = "0-9A-Za-zÀ-ÖØ-öø-ɏΑ-ΡΣ-ωЀ-ҁא-תء-ي가-힣"
BOUNDARY = re.compile(f"(?<=[{_PLAIN}]) (?=[{_PLAIN}])")
# Characters in which a boundary is looked for: text without one there rarely has one later.
SEARCHED_CHARACTERS = 1_000

_NORMALIZERS = frozenset(
    {
        *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled"),
        *("Prepend", "Strip", "StripAccents"),
    }
)
# Patterns of SentencePiece's models: a boundary is one space, which they leave alone.
_SPACE_PATTERNS = (r" {2,}", r"\s{2,}|[\n\r\t]")
# Patterns of Qwen2 and of Llama 3 for what makes a piece, where no white space follows another
# character, but for the ends of lines behind punctuation.
_PIECE_PATTERNS = tuple(
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{times}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for times in ("", "{1,3}")
)
_LOCAL = ("Digits", "Punctuation")
_SPLITTING_AT_PUNCTUATION = ("BertPreTokenizer", "ByteLevel")
# Without what belongs to words: "_" to some, "'" in contractions.
_PUNCTUATION = frozenset(string.punctuation) - set("_'")
_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")


def prefix(text: str, least: int) -> str:
    """Return `text` up to its first boundary from `least` on; all of it when none is near."""
    found = BOUNDARY.search(text, least, least + SEARCHED_CHARACTERS)
    return text if found is None else text[: found.start()]


def keeps_prefixes(rust: Any) -> bool:
    """Tell whether the tokens before a boundary are the same whatever follows it.

    Args:
        rust: A `tokenizers.Tokenizer`.
    """
    added = [token.content for token in rust.get_added_tokens_decoder().values()]
    model = type(rust.model).__name__
    return (
        all(_normalizer_keeps(part) for part in _parts(rust.normalizer, "normalizers"))
        and _pre_tokenizers_keep(_parts(rust.pre_tokenizer, "pretokenizers"))
        and (model in _MODELS and not getattr(rust.model, "dropout", None))
        and all(_is_unmixed(word) and _is_unmixed(_normalized(rust, word)) for word in added)
        and _normalized(rust, "a a") == "a a"
    )


class WordBreaks(NamedTuple):
    """Where words begin, in ASCII.

    Attributes:
        spaces: White space with which a word may begin.
        punctuation: What a word may begin with behind a letter or digit, or end with before one.
    """

    spaces: bytes
    punctuation: bytes


def word_breaks(rust: Any) -> WordBreaks | None:
    """Return where words begin whose tokens are the same alone as in a text; None if unknown.

    Args:
        rust: A `tokenizers.Tokenizer`.
    """
    normalizers = _parts(rust.normalizer, "normalizers")
    added = rust.get_added_tokens_decoder().values()
    if (
        not keeps_prefixes(rust)
        or any(part["type"] == "Prepend" or part.get("strip_left") for part in normalizers)
        or any(token.rstrip or token.single_word for token in added)
    ):
        return None
    parts = _parts(rust.pre_tokenizer, "pretokenizers")
    known = all(part["type"] in _SPLITTING_AT_PUNCTUATION for part in parts)
    replaces = any(part["type"] == "Replace" for part in normalizers)
    if not known or any(part.get("add_prefix_space") for part in parts) or replaces:
        return WordBreaks(b" ", b"")
    contents = [token.content for token in added]
    kept = {*chain(*contents), *chain(*(_normalized(rust, content) for content in contents))}
    return WordBreaks(b" \t\n\r", "".join(_PUNCTUATION - kept).encode())


def _is_unmixed(text: str) -> bool:
    return text.split() == [text] or text.isspace()


def _normalized(rust: Any, text: str) -> str:
    return text if rust.normalizer is None else str(rust.normalizer.normalize_str(text))


def _parts(component: Any, members: str) -> list[dict[str, Any]]:
    """Return what a normalizer or pre-tokenizer consists of, one after the other."""
    if component is None:
        return []
    return _flat(json.loads(component.__getstate__()), members)


def _flat(state: dict[str, Any], members: str) -> list[dict[str, Any]]:
    if state["type"] != "Sequence":
        return [state]
    return [part for member in state[members] for part in _flat(member, members)]


def _normalizer_keeps(part: dict[str, Any]) -> bool:
    if part["type"] != "Replace":
        return part["type"] in _NORMALIZERS
    pattern = part["pattern"]
    if "String" in pattern:
        return not re.search(r"\s", pattern["String"])
    return pattern["Regex"] in _SPACE_PATTERNS


def _pre_tokenizers_keep(parts: list[dict[str, Any]]) -> bool:
    """Tell whether one of them splits at spaces and the others look at pieces or characters."""
    before = list(takewhile(lambda part: not _splits_at_spaces(part), parts))
    after = parts[len(before) + 1 :]
    return (
        len(before) < len(parts)
        and all(part["type"] in _LOCAL for part in before)
        # Before that, bytes written as letters would leave no spaces to split at.
        and all(_splits_at_spaces(part) or part["type"] in (*_LOCAL, "ByteLevel") for part in after)
    )


def _splits_at_spaces(part: dict[str, Any]) -> bool:
    match part["type"]:
        case "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit":
            return True
        case "ByteLevel":
            return bool(part["use_regex"])
        case "Metaspace":
            return bool(part["split"])
        case "Split":
            splits = part["behavior"] == "Isolated" and not part["invert"]
            return splits and part["pattern"].get("Regex") in _PIECE_PATTERNS
        case _:
            return False
