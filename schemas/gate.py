"""What is asked of a model's metrics before it is released, and whether it is given.

A gate is a mapping from metrics to limits, in YAML or JSON:

    quality.macro_f1: {min: 0.85, max_drop: 0.01}
    robustness.typos.flip_rate: {max: 0.1}
    efficiency.documents_per_second: {max_drop: 10%}

A metric is a path in the JSON that `bulkscore evaluate` prints. A name without a dot is one of
`quality`, or of the metrics that a version was registered with.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    model_validator,
)

from schemas.errors import UsageError
from schemas.record import Record

# Figures that are equal but for how they were rounded do not fail.
ROUNDING = 1e-12

Metrics = Mapping[str, Any]


class Amount(Record):
    """A change that is allowed: so much, or a share of what was there before."""

    value: float = Field(ge=0)
    is_share: bool = False

    def of(self, before: float) -> float:
        """Return the change."""
        return self.value * abs(before) if self.is_share else self.value

    def __str__(self) -> str:
        """Return it as it is written in a gate."""
        return f"{100 * self.value:g}%" if self.is_share else f"{self.value:g}"


def _amount(given: object) -> object:
    if isinstance(given, str) and given.endswith("%"):
        return {"value": float(given[:-1]) / 100, "is_share": True}
    return given if isinstance(given, dict | Amount) else {"value": given}


_Change = Annotated[Amount | None, BeforeValidator(lambda v: None if v is None else _amount(v))]


class Threshold(Record):
    """What is asked of one metric.

    Attributes:
        min: It is at least this.
        max: It is at most this.
        max_drop: It is at most so much below that of the baseline: for what had better be large.
        max_rise: It is at most so much above that of the baseline: for what had better be small.
    """

    min: float | None = None
    max: float | None = None
    max_drop: _Change = Field(
        default=None, validation_alias=AliasChoices("max_drop", "max_drop_from_alias")
    )
    max_rise: _Change = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if all(limit is None for limit in (self.min, self.max, self.max_drop, self.max_rise)):
            raise ValueError("give min, max, max_drop or max_rise")
        return self


class Gate(RootModel[dict[str, Threshold]]):
    """Thresholds by metric."""

    model_config = ConfigDict(frozen=True)

    @property
    def compares(self) -> bool:
        """Whether it asks for a baseline."""
        return any(limit.max_drop or limit.max_rise for limit in self.root.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition and whether it is met; `problem` says why it is not."""

    metric: str
    asked: str
    value: float | None
    baseline: float | None = None
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the condition is met."""
        return self.problem is None


def parse_gate(content: bytes, place: str) -> Gate:
    """Return the gate that a file of JSON, or of YAML where pyyaml is installed, describes.

    Raises:
        UsageError: It is neither, asks for something else, or for nothing.
    """
    try:
        gate = Gate.model_validate(_parsed(content))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise UsageError(f"gate {place}: {problems}") from None
    except ValueError as error:
        raise UsageError(f"gate {place} is neither JSON nor YAML") from error
    if not gate.root:
        raise UsageError(f"gate {place} asks for nothing")
    return gate


def _parsed(content: bytes) -> object:
    try:
        import yaml
    except ImportError:
        return json.loads(content)
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error


def check(gate: Gate, metrics: Metrics, before: Metrics | None) -> list[Check]:
    """Return every condition of a gate, met or not.

    Args:
        gate: What is asked.
        metrics: Those of the model.
        before: Those of the baseline; None when there is none, and then nothing is compared.
    """
    return [
        found
        for name, limit in gate.root.items()
        for found in _checks(name, limit, metrics, before)
    ]


def value_at(metrics: Metrics, name: str) -> float | None:
    """Return the number that a gate's name of a metric means, None when there is none.

    Parts of a path may hold dots themselves, as the names of labels do.
    """
    found = None if "." in name else _at(metrics.get("quality"), name)
    if found is None:
        found = _at(metrics, name)
    number = isinstance(found, int | float) and not isinstance(found, bool) and isfinite(found)
    return float(found) if number else None


def _at(tree: Any, path: str) -> Any:
    if not isinstance(tree, Mapping):
        return None
    if path in tree:
        return tree[path]
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        inner = _at(tree.get(".".join(parts[:cut])), ".".join(parts[cut:]))
        if inner is not None:
            return inner
    return None


def _checks(
    name: str, limit: Threshold, metrics: Metrics, before: Metrics | None
) -> Iterator[Check]:
    value = value_at(metrics, name)
    old = None if before is None else value_at(before, name)
    for asked, compares in _conditions(limit):
        if compares and before is None:
            continue
        problem = None
        if value is None:
            problem = "not recorded"
        elif compares and old is None:
            problem = "the baseline has none to compare with"
        elif compares and before is not None and _other_data(name, metrics, before):
            problem = "the baseline was measured on other data"
        else:
            problem = _problem(asked, limit, value, old)
        yield Check(
            metric=name,
            asked=f"{asked} {getattr(limit, asked)}",
            value=value,
            baseline=old if compares else None,
            problem=problem,
        )


def _conditions(limit: Threshold) -> Iterator[tuple[str, bool]]:
    """Yield the names of the limits that are set, and whether they look at the baseline."""
    for asked in ("min", "max", "max_drop", "max_rise"):
        if getattr(limit, asked) is not None:
            yield asked, asked.startswith("max_")


def _problem(asked: str, limit: Threshold, value: float, old: float | None) -> str | None:
    bound = getattr(limit, asked)
    if asked == "min" and not value >= bound:
        return f"{value:g} is below {bound:g}"
    if asked == "max" and not value <= bound:
        return f"{value:g} is above {bound:g}"
    if old is None or asked in ("min", "max"):
        return None
    if asked == "max_drop" and not value >= old - bound.of(old) - ROUNDING:
        return f"{value:g} is more than {bound} below {old:g}"
    if asked == "max_rise" and not value <= old + bound.of(old) + ROUNDING:
        return f"{value:g} is more than {bound} above {old:g}"
    return None


def _other_data(name: str, metrics: Metrics, before: Metrics) -> bool:
    """Say whether a figure of evaluations is compared that were made of different data."""
    speed = name.startswith("efficiency.")
    data = [_at(each, "data.sha256") for each in (metrics, before)]
    return not speed and None not in data and data[0] != data[1]
