"""`python -m worker.score`: a first look at a model, one line a text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.families import LABELS, save_tiny_classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("model"))


def score(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "worker.score", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)


@pytest.mark.slow
def test_texts_from_the_command_line_get_a_line_each(model: Path) -> None:
    done = score("--model", str(model), "a delightful story", "dull", "  ")

    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0
    assert [line[2] for line in lines] == ["a delightful story", "dull", ""]
    assert {lines[0][0], lines[1][0]} <= set(LABELS)
    assert all(0 < float(line[1]) <= 1 for line in lines[:2])
    assert lines[2][:2] == ["-", "text_blank"]


def test_lines_of_standard_input_that_are_no_text_get_an_error_of_their_own(model: Path) -> None:
    stdin = b"a delightful story\ncaf\xe9\n" + b"word " * 500 + b"\n"

    done = score("--model", str(model), "--json", "--all-scores", stdin=stdin)

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["error"] for row in rows] == [None, "tokenizer_failed", None]
    assert [row["truncated"] for row in rows] == [False, False, True]
    assert set(rows[0]["scores"]) == set(LABELS)
    assert rows[0]["score"] == pytest.approx(max(rows[0]["scores"].values()))


def test_a_model_that_is_not_there_ends_with_exit_code_2_and_no_traceback() -> None:
    done = score("--model", "/no/such/model", "dull")

    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.decode().startswith("error: model /no/such/model does not exist")
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_several_models_say_what_they_give_on_one_line(model: Path) -> None:
    both = ("--model", f"old={model}", "--model", f"new={model}")

    told = score(*both, "a delightful story", "  ").stdout.decode().splitlines()
    (row,) = (json.loads(line) for line in score(*both, "--json", "dull").stdout.splitlines())

    label, value = told[0].split("\t")[0].removeprefix("old="), told[0].split("\t")[1]
    assert told[0] == f"old={label}\t{value}\tnew={label}\t{value}\ta delightful story"
    assert told[1].startswith("old=-\ttext_blank\tnew=-\ttext_blank")
    assert row["label_old"] == row["label_new"] in LABELS
