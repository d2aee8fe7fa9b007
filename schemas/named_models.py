"""What `--model` says: which models a job has, and what the columns of each are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import UsageError

_NAMED = re.compile(r"([A-Za-z0-9_]+)=(.+)", re.DOTALL)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class NamedModels:
    """The models of a job in order, and a name for each; a model alone has none."""

    refs: tuple[str, ...]
    names: tuple[str, ...]


def named_models(given: Sequence[str]) -> NamedModels:
    """Return the models that are asked for.

    One model is a reference and nothing else. Each of several is a reference or `NAME=REF`; without
    a name it is called by the last part of its reference, with `_` for all that would need quotes
    in SQL: `models/sentiment@2` is `sentiment_2`.

    Raises:
        UsageError: Two models have the same name, or one has none.
    """
    if len(given) == 1:
        return NamedModels(tuple(given), ())
    pairs = [_named(text) for text in given]
    seen: dict[str, str] = {}
    for name, ref in pairs:
        if not name:
            raise UsageError(f"--model {ref}: give its columns a name, as in --model first={ref}")
        # Many readers of tables do not tell capital letters from small ones.
        other = seen.get(name.lower())
        if other is not None:
            raise UsageError(
                f"--model {other} and --model {ref} would both fill label_{name}: give their "
                f"columns names, as in --model old={other} --model new={ref}"
            )
        seen[name.lower()] = ref
    return NamedModels(tuple(ref for _, ref in pairs), tuple(name for name, _ in pairs))


def _named(text: str) -> tuple[str, str]:
    """Return name and reference."""
    if match := _NAMED.fullmatch(text):
        return match[1], match[2]
    return _NOT_PLAIN.sub("_", text.rstrip("/").rpartition("/")[2]).strip("_"), text
