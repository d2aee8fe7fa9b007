"""The error tree is drawn as it is, and every error says what a command should return."""

import re

import pytest

from schemas import errors
from schemas.errors import BulkError, ExitCode, PermanentError, TransientError, UsageError


def descendants(kind: type[BulkError]) -> list[type[BulkError]]:
    return [kind, *(d for child in kind.__subclasses__() for d in descendants(child))]


OURS = [kind for kind in descendants(BulkError) if kind.__module__ == errors.__name__]


def test_the_drawing_at_the_head_of_the_module_shows_the_tree_as_it_is() -> None:
    drawn: list[tuple[str, str]] = []
    path: list[str] = []
    for indent, name in re.findall(r"^ {4}([│├└─ ]*)([A-Z]\w+) ", errors.__doc__ or "", re.M):
        depth = len(indent) // 3
        path[depth:] = [name]
        drawn.append((name, path[depth - 1] if depth else "Exception"))

    assert drawn == [(kind.__name__, kind.__mro__[1].__name__) for kind in OURS]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in OURS]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", OURS[1:], ids=lambda kind: kind.__name__)
def test_every_error_is_either_tried_again_or_buried_or_shown(kind: type[BulkError]) -> None:
    families = [f for f in (TransientError, PermanentError, UsageError) if issubclass(kind, f)]

    assert len(families) == 1


def test_exit_codes_are_those_of_the_stable_contract() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "DEAD_CHUNKS": 3,
        "ROW_ERRORS": 4,
        "WAIT_TIMED_OUT": 5,
        "GATE_FAILED": 6,
        "UNAVAILABLE": 69,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.BrokerUnavailable, ExitCode.UNAVAILABLE),
        (errors.StorageUnavailable, ExitCode.UNAVAILABLE),
        (errors.AccessDenied, ExitCode.UNAVAILABLE),
        (errors.InputCorrupt, ExitCode.USAGE),
        (errors.SchemaMismatch, ExitCode.USAGE),
        (errors.OutputTaken, ExitCode.USAGE),
        (errors.JobUnknown, ExitCode.USAGE),
        (errors.ConfigurationError, ExitCode.CONFIGURATION),
    ],
)
def test_an_error_carries_the_exit_code_of_the_command_it_ends(
    kind: type[BulkError], code: ExitCode
) -> None:
    assert kind("what happened").exit_code is code


def test_only_errors_that_every_chunk_would_meet_halt_a_job() -> None:
    assert {kind.__name__ for kind in OURS if kind.job_wide} == {
        "CredentialsRefused",
        "LocationRefused",
        "ManifestMissing",
        "ModelIncompatible",
    }
