"""The arguments of a lifecycle task: those of a command here, made to mean the same at a worker."""

import os
from collections.abc import Sequence

from schemas.locations import canonical
from schemas.registry import is_registry_ref

_LOCATIONS = ("data", "validation-data", "test-data", "gate", "report")
_MODELS = ("model", "baseline", "replicate", "teacher")


def for_worker(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a module with every local path made absolute.

    The name of a model, and what stands behind `--`, is a path where it looks like one (a slash,
    or a dot in front) or lies here; `--out` where it looks like one.
    """
    behind = False
    made = []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if behind:
            made.append(_model(argument))
        elif equals and name in _LOCATIONS:
            made.append(f"--{name}={canonical(value)}")
        elif equals and name in _MODELS:
            made.append(f"--{name}={_model(value)}")
        elif equals and name == "out" and _is_path(value):
            made.append(f"--{name}={canonical(value)}")
        else:
            made.append(argument)
        behind = behind or argument == "--"
    return made


def local_paths(arguments: Sequence[str]) -> list[str]:
    """Return the paths among arguments that `for_worker` made: a worker needs the same disk."""
    values = (a.partition("=")[2] if a.startswith("--") else a for a in arguments)
    return [value for value in values if value.startswith("/")]


def _model(value: str) -> str:
    if is_registry_ref(value) or not (_is_path(value) or os.path.exists(value)):
        return value
    return canonical(value)


def _is_path(value: str) -> bool:
    return "/" in value or value.startswith((".", "~"))
