"""The arguments of a lifecycle task: those of a command here, made to mean the same at a worker."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputMissing
from schemas.locations import canonical, local_path
from schemas.registry import is_registry_ref

_LOCATIONS = ("data", "train-data", "validation-data", "test-data", "teacher-scores")
_MODELS = ("model", "baseline", "replicate", "student")
_GATE, _REPORT = "gate.yaml", "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a worker is asked to do.

    Attributes:
        arguments: Of the module.
        files: Name and content of files that it reads.
        keeps: Name of each file that it is to keep, and where it is wanted here.
    """

    arguments: tuple[str, ...]
    files: dict[str, str]
    keeps: dict[str, Path]

    @property
    def local_paths(self) -> list[str]:
        """The paths among the arguments: the worker needs the same disk."""
        values = (a.partition("=")[2] if a.startswith("--") else a for a in self.arguments)
        return [value for value in values if value.startswith("/")]


def for_worker(arguments: Sequence[str]) -> Request:
    """Return what a worker is asked by the arguments of a module.

    Local paths are made absolute. The name of a model, and what stands behind `--`, is a path where
    it looks like one (a slash, or a dot in front) or lies here; `--out` where it looks like one. A
    gate goes with the request, a report comes back.

    Raises:
        InputMissing: There is no such gate.
    """
    made: list[str] = []
    files: dict[str, str] = {}
    keeps: dict[str, Path] = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if "--" in made:
            made.append(_model(argument))
        elif equals and name in _LOCATIONS:
            made.append(f"--{name}={canonical(value)}")
        elif equals and name in _MODELS:
            made.append(f"--{name}={_model(value)}")
        elif equals and name == "out" and _is_path(value):
            made.append(f"--{name}={canonical(value)}")
        elif equals and name == "gate":
            files[_GATE] = _read(value)
            made.append(f"--{name}={_GATE}")
        elif equals and name == "report":
            keeps[_REPORT] = local_path(value)
            made.append(f"--{name}={_REPORT}")
        else:
            made.append(argument)
    return Request(arguments=tuple(made), files=files, keeps=keeps)


def _read(path: str) -> str:
    try:
        return local_path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputMissing(f"{path} cannot be read: {error}") from None


def _model(value: str) -> str:
    if is_registry_ref(value) or not (_is_path(value) or os.path.exists(value)):
        return value
    return canonical(value)


def _is_path(value: str) -> bool:
    return "/" in value or value.startswith((".", "~"))
