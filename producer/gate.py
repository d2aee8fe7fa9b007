"""Whether a version's recorded metrics are good enough for an alias."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, RootModel, ValidationError

from schemas.errors import UsageError
from schemas.record import Record

# What a metric may lose against the version that the alias points to, unless a gate says more.
DEFAULT_MAX_DROP = 0.01

Metrics = Mapping[str, Any]


class Threshold(Record):
    """What is asked of one metric, larger being better."""

    min: float | None = None
    max_drop_from_alias: float | None = Field(default=None, ge=0)


class Gate(RootModel[dict[str, Threshold]]):
    """Thresholds by metric."""

    model_config = ConfigDict(frozen=True)


# Of these the version must have recorded one at least.
DEFAULT_GATE = Gate(
    {name: Threshold(max_drop_from_alias=DEFAULT_MAX_DROP) for name in ("accuracy", "macro_f1")}
)


def parse_gate(content: bytes, place: str) -> Gate:
    """Return the gate that a file of JSON, or of YAML where pyyaml is installed, describes.

    Raises:
        UsageError: It is neither, or asks for something else.
    """
    try:
        return Gate.model_validate(_parsed(content))
    except ValidationError as error:
        problems = "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False))
        raise UsageError(f"gate {place}: {problems}") from None
    except ValueError as error:
        raise UsageError(f"gate {place} is neither JSON nor YAML") from error


def _parsed(content: bytes) -> object:
    try:
        import yaml
    except ImportError:
        return json.loads(content)
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error


def failures(gate: Gate | None, metrics: Metrics | None, before: Metrics | None) -> list[str]:
    """Return what is not good enough, nothing for a version that passes.

    Args:
        gate: What is asked; None for the default, which counts the metrics that there are.
        metrics: Those of the version, None when none were recorded.
        before: Those of the version that the alias points to, None when it points to none.
    """
    if metrics is None:
        return ["no metrics were recorded"]
    asked = (gate or DEFAULT_GATE).root
    if gate is None:
        asked = {name: limit for name, limit in asked.items() if metrics.get(name) is not None}
        if not asked:
            return [f"none of {', '.join(DEFAULT_GATE.root)} was recorded"]
    return [
        f"{name}: {problem}"
        for name, limit in asked.items()
        for problem in _problems(limit, metrics.get(name), before, name)
    ]


def _problems(limit: Threshold, value: Any, before: Metrics | None, name: str) -> list[str]:
    if not isinstance(value, int | float):
        return ["not recorded"]
    found = []
    if limit.min is not None and not value >= limit.min:
        found.append(f"{value:g} is below {limit.min:g}")
    if limit.max_drop_from_alias is not None and before is not None:
        old = before.get(name)
        if not isinstance(old, int | float):
            found.append("the version that the alias points to has none to compare with")
        elif not value >= old - limit.max_drop_from_alias - 1e-12:
            found.append(f"{value:g} is more than {limit.max_drop_from_alias:g} below {old:g}")
    return found
