r"""Rules that guess the label of a text: keywords or a regular expression each, in a small YAML.

    labels: [negative, positive]
    rules:
      - name: praise
        label: positive
        keywords: [excellent, would buy again]
      - name: money back
        label: negative
        regex: 'refund|money\s+back'

Case does not matter unless `case_sensitive: true`; keywords are whole words unless
`whole_words: false`.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Self

import polars as pl
from polars.exceptions import ComputeError
from pydantic import Field, StringConstraints, ValidationError, model_validator

from schemas.errors import UsageError
from schemas.job import Record
from schemas.storage import Storage

Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, strict=True)]
# Scripts that put no space between words: what stands beside a keyword says nothing.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


class Rule(Record):
    """One rule: texts in which a keyword or the regular expression is found have the label."""

    name: Name
    label: Name
    keywords: tuple[Name, ...] = ()
    regex: Annotated[str, StringConstraints(min_length=1)] | None = None
    case_sensitive: bool = False
    whole_words: bool = True

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.keywords) == (self.regex is not None):
            raise ValueError("give either keywords or a regex")
        if self.regex is not None and "whole_words" in self.model_fields_set:
            raise ValueError("whole_words is for keywords; in a regex write \\b")
        return self

    @property
    def pattern(self) -> str:
        """The regular expression, of Rust's syntax, that is looked for."""
        found = self.regex
        if found is None:
            found = "|".join(_keyword(word, whole=self.whole_words) for word in self.keywords)
        return found if self.case_sensitive else f"(?i:{found})"


class Rules(Record):
    """Rules, and the labels they may give, in their order."""

    labels: Annotated[tuple[Name, ...], Field(min_length=1)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


def read_rules(storage: Storage, uri: str) -> Rules:
    """Return the rules in a YAML file.

    Raises:
        InputMissing: There is no such file.
        UsageError: It is not YAML or no rules: a key is unknown or missing, a label or name is
            wrong, or a regular expression is none that polars knows. Rule and place are named.
    """
    rules = _parsed(uri, _content(uri, storage.read(uri)))
    for place, rule in enumerate(rules.rules):
        where = f"{uri}: rule {rule.name!r} (number {place + 1})"
        if rule.label not in rules.labels:
            raise UsageError(f"{where}: label {rule.label!r} is none of {', '.join(rules.labels)}")
        if any(rule.name == other.name for other in rules.rules[:place]):
            raise UsageError(f"{where}: an earlier rule has this name")
        _require_compiles(where, rule)
    for label in rules.labels:
        if rules.labels.count(label) > 1:
            raise UsageError(f"{uri}: label {label!r} is there twice")
    return rules


def _keyword(word: str, *, whole: bool) -> str:
    # re.escape also escapes the space, which Rust refuses outside of its verbose mode.
    escaped = re.escape(word).replace("\\ ", " ")
    if not whole:
        return escaped
    return f"{_boundary(word[0])}{escaped}{_boundary(word[-1])}"


def _boundary(character: str) -> str:
    """Return what a word that begins or ends with this character must have beside it."""
    unspaced = unicodedata.name(character, "").startswith(_UNSPACED)
    return "\\b" if character.isalnum() and not unspaced else ""


def _content(uri: str, body: bytes) -> Any:
    import yaml

    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise UsageError(f"{uri}{place}: not YAML: {problem}") from None


def _parsed(uri: str, content: Any) -> Rules:
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{_place(content, list(problem['loc']))}{problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
    raise UsageError(f"{uri}: {'; '.join(problems)}")


def _place(content: Any, location: list[int | str]) -> str:
    """Return where in the file a problem is, with the name of the rule if it has one."""
    return "".join(_parts(content, location))


def _parts(content: Any, location: list[int | str]) -> Iterator[str]:
    if location[:1] == ["rules"] and len(location) > 1 and isinstance(location[1], int):
        rule = content["rules"][location[1]]
        name = rule.get("name") if isinstance(rule, dict) else None
        yield (
            f"rule {name!r} (number {location[1] + 1}): "
            if name
            else (f"rule number {location[1] + 1}: ")
        )
        location = location[2:]
    if location:
        yield f"{'.'.join(map(str, location))}: "


def _require_compiles(where: str, rule: Rule) -> None:
    if rule.regex is not None:
        _compile(where, rule.regex)
    _compile(where, rule.pattern)


def _compile(where: str, pattern: str) -> None:
    try:
        pl.Series([""]).str.contains(pattern)
    except ComputeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line.startswith("error:")), lines[0])
        raise UsageError(
            f"{where}: the regular expression does not compile: {reason.removeprefix('error: ')} "
            "(the syntax is that of Rust's regex)"
        ) from None
