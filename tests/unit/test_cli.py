"""The command line as a whole: what it loads, what it promises, and that its reference is true."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from producer.cli import options, terminal
from producer.cli.app import build_app
from producer.cli.option_groups import with_groups
from producer.cli.option_values import parse_error_budget
from producer.cli.reference import commands_of, examples, reference
from producer.cli.scoring_options import ScoringOptions
from schemas.errors import UsageError
from schemas.job import DEFAULT_CHUNK_ROWS, ErrorBudget, JobSpec
from support.processes import run_cli

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
COMMANDS = {
    *("plan", "submit", "run", "up", "worker", "flower", "score", "evaluate"),
    *("jobs", "show", "watch", "wait", "cancel"),
    *("profile", "split", "label"),
    *("models register", "models list", "models show", "models verify"),
    *("models promote", "models rollback", "models rm"),
    *("dead-letters", "reprocess", "resume", "reconcile", "verify", "report", "doctor", "version"),
}
# What makes `--help` slow, or has no place in the producer at all.
HEAVY = {
    *("celery", "kombu", "numpy", "polars", "pyarrow", "pydantic", "pydantic_settings"),
    *("redis", "s3fs", "fsspec", "botocore", "torch", "transformers", "worker"),
}


def _commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(build_app())
    return commands_of(group)


def _imported_by(*args: str) -> set[str]:
    """Return the top-level modules that a command has loaded when it ends."""
    program = (
        "import atexit, json, sys\n"
        "names = lambda: sorted({m.partition('.')[0] for m in sys.modules})\n"
        "atexit.register(lambda: print(json.dumps(names()), file=sys.stderr))\n"
        f"sys.argv = ['bulkscore', *{args!r}]\n"
        "from producer.cli.app import run\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_every_command_is_there() -> None:
    assert set(_commands()) >= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_an_example_that_starts_with_its_name(name: str) -> None:
    found = examples(_commands()[name].help)

    assert found
    assert all(example.startswith(f"bulkscore {name}") for example in found)


def test_the_reference_is_current() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), (
        "run: python -m producer.cli.reference > docs/reference/cli.md"
    )


def test_help_loads_nothing_heavy() -> None:
    assert _imported_by("--help") & HEAVY == set()


def test_a_command_that_plans_loads_neither_torch_nor_the_worker(tmp_path: Path) -> None:
    loaded = _imported_by(
        *("plan", "-i", str(tmp_path / "none"), "-m", str(tmp_path), "--text-column", "text")
    )

    assert "pyarrow" in loaded
    assert loaded & {"torch", "transformers", "tokenizers", "worker", "celery"} == set()


def test_help_takes_less_than_half_a_second() -> None:
    def processor_seconds() -> float:
        before = os.times()
        run_cli("--help")
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # of children; waiting for others is not ours

    assert min(processor_seconds() for _ in range(3)) < 0.5


def test_plan_submit_and_run_have_the_same_scoring_options() -> None:
    names = [f"--{name.replace('_', '-')}" for name in ScoringOptions.__dataclass_fields__]

    for command in ("plan", "submit", "run"):
        given = {option for p in _commands()[command].params for option in p.opts}
        assert given >= set(names), command


def test_defaults_of_the_options_are_those_of_the_spec() -> None:
    scoring = ScoringOptions(input=["a"], model=["m"], text_column="text")
    bare = JobSpec(inputs=("/a",), output="/out", model="m", text_column="text")

    spec = scoring.spec("/out").model_copy(update={"inputs": ("/a",)})

    assert spec == bare
    assert scoring.chunk_rows == DEFAULT_CHUNK_ROWS


def test_locations_in_a_spec_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    spec = ScoringOptions(input=["in/*.parquet"], model=["m"], text_column="text").spec("out/")

    assert spec.inputs == (f"{tmp_path}/in/*.parquet",)
    assert spec.output == f"{tmp_path}/out"


def test_a_command_gets_its_own_options_beside_the_scoring_options() -> None:
    def command(scoring: ScoringOptions, output: options.Output, wait: bool = False) -> None:
        """Do something."""

    parameters = inspect.signature(with_groups(command)).parameters

    assert {"input", "model", "output", "wait"} <= set(parameters)
    assert "scoring" not in parameters


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        (None, None),
        ("0", ErrorBudget(count=0)),
        ("100", ErrorBudget(count=100)),
        ("0.5%", ErrorBudget(percent=0.5)),
    ],
)
def test_an_error_budget_is_a_number_or_a_share(
    text: str | None, budget: ErrorBudget | None
) -> None:
    assert parse_error_budget("--max-dead-chunks", text) == budget


@pytest.mark.parametrize("text", ["", "%", "many", "-1", "101%", "1.5", "nan%"])
def test_an_error_budget_that_makes_no_sense_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--max-dead-chunks"):
        parse_error_budget("--max-dead-chunks", text)


def test_usage_errors_end_with_2() -> None:
    assert run_cli("no-such-command").exit_code == 2
    assert run_cli("submit").exit_code == 2


def test_an_unexpected_error_shows_a_traceback_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from producer.cli import app

    def broken() -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(app, "build_app", broken)

    exit_code = app.run()

    stderr = capsys.readouterr().err
    assert exit_code == 1
    assert "RuntimeError: a bug" in stderr
    assert "report" in stderr


def test_a_table_that_is_piped_is_neither_cut_nor_colored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "x" * 500

    terminal.print_table(("name", "#count"), [(long, 1_000)])

    out = capsys.readouterr().out
    assert long in out
    assert "1,000" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "?"), (0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3_660, "1 h 01 min")],
)
def test_a_time_span_is_shown_in_two_units(seconds: float | None, shown: str) -> None:
    assert terminal.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 chunks"), (1, "1 chunk"), (2_000, "2,000 chunks")]
)
def test_one_thing_is_not_called_several(count: int, shown: str) -> None:
    assert terminal.number_of(count, "chunk") == shown
