"""Groups of options that several commands share: a dataclass whose fields are options.

Imports nothing heavy: this module is loaded for `--help`.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Any, get_type_hints


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its groups as options of its own, and hand groups over whole.

    Args:
        command: Has parameters that are annotated with a dataclass; the options of each stand in
            its place.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in own if is_dataclass(p.annotation)}

    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{f.name: given.pop(f.name) for f in fields(group)})
        command(**given)

    parameters = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in own
        for option in (_options(groups[p.name]) if p.name in groups else [p])
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def as_arguments(*groups: Any, **more: Any) -> list[str]:
    """Return the values of groups, and more by name, as arguments of one of our modules."""
    from producer.processes import options

    given = {name: value for group in groups for name, value in asdict(group).items()}
    return options(**given, **more)


def _options(group: type) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for option in fields(group):
        yield inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(option),
            annotation=hints[option.name],
        )


def _default(option: "Field[Any]") -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default
