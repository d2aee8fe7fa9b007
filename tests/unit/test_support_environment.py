"""Tests start from a clean environment, and what could not be tested is said."""

import os
from pathlib import Path

import pytest

from support import data
from support.requirements import missing


def test_settings_of_whoever_runs_the_tests_are_out_of_sight() -> None:
    foreign = [name for name in os.environ if name.startswith(("BULKSCORE_", "AWS_", "CELERY_"))]

    assert foreign == []
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_absent_test_data_skips_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "TEST_DATA", tmp_path)
    (tmp_path / "here.csv").touch()

    assert data.require_data("here.csv") == tmp_path / "here.csv"
    with pytest.raises(pytest.skip.Exception, match="BULKSCORE_TEST_DATA"):
        data.require_data("sst2/test.csv")


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_server_skips_here_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="no such server"):
        missing("no such server")
