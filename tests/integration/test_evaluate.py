"""`evaluate` measures what a job gives, keeps it with the version, and holds it to a gate."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from producer.cli.app import build_app
from producer.registry import measured, promote
from schemas.errors import GateFailed
from schemas.gate import parse_gate
from schemas.model_files import pin_model
from schemas.registry import Registry
from schemas.storage import Storage
from support.models import tiny_model
from support.processes import run_cli
from support.texts import ordinary_texts
from worker.lifecycle import efficiency, evaluate
from worker.lifecycle.evaluated_rows import evaluate_rows
from worker.lifecycle.evaluation_text import evaluation_lines
from worker.lifecycle.register import register
from worker.model_store import ModelStore
from worker.models import load_model
from worker.score import score_texts

pytestmark = pytest.mark.integration

ROWS = 120
FEW = ("--robustness-rows", "12", "--seeds", "2", "--resamples", "100")
QUICK = (*FEW, "--skip", "efficiency", "--skip", "robustness", "--skip", "slices")
Evaluate = Callable[..., Result]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models of the same labels, one of several labels and a regression."""
    root = tmp_path_factory.mktemp("models")
    tiny_model(root / "one")
    tiny_model(root / "other", seed=5, labels=("positive", "negative"))
    tiny_model(root / "several", labels="abc", problem_type="multi_label_classification")
    tiny_model(root / "number", labels=("value",), problem_type="regression")
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Run the command in this process, with a cache of its own and one thread."""
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_MODELS_URI", str(tmp_path / "registry"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    monkeypatch.setattr(efficiency, "PASS_TEXTS", 24)
    monkeypatch.setattr(efficiency, "LATENCY_TEXTS", 5)
    return lambda *args: CliRunner().invoke(
        evaluate.app, [str(arg) for arg in args], catch_exceptions=False
    )


def rows_of(path: Path, labels: Sequence[Any], texts: Sequence[str] | None = None) -> Path:
    texts = texts or ordinary_texts(len(labels), seed=3)
    pl.DataFrame({"text": texts, "label": labels}).write_ndjson(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    return rows_of(tmp_path / "data.jsonl", chance.choice(["negative", "positive"], ROWS).tolist())


def test_everything_is_measured_and_reported_without_a_text_under_an_allow_list(
    run: Evaluate, models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.html"
    monkeypatch.setenv("BULKSCORE_ALLOWED_URIS", f"{models},{tmp_path}")

    done = run(
        *(models / "one", "--data", data, *FEW, "--json", "--report", report),
        *("--baseline", models / "other", "--replicate", models / "other"),
    )

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["data"]["rows"] == ROWS
    assert found["intervals"]["accuracy"]["low"] < found["quality"]["accuracy"]
    assert found["efficiency"]["parameters"] > 10_000
    assert found["efficiency"]["latency_p95_seconds"] >= found["efficiency"]["latency_p50_seconds"]
    assert 1e7 < found["efficiency"]["peak_memory_bytes"] < 1e11
    assert found["robustness"]["html"]["flip_rate"] > 0
    assert len(found["robustness"]["typos"]["flip_rate_by_seed"]) == 2
    assert found["slices"]["script"]["Latin"]["rows"] == ROWS
    other = found["baseline"]["quality"]["accuracy"]
    assert found["comparison"]["drop"] == pytest.approx(other - found["quality"]["accuracy"])
    spread = found["stability"]["metrics"]["accuracy"]
    assert sorted(spread["values"]) == sorted([found["quality"]["accuracy"], other])
    assert found["comparison"]["agreement"] == pytest.approx(found["stability"]["agreement"])
    ours, theirs = (
        each["efficiency"]["documents_per_second"] for each in (found, found["baseline"])
    )
    beside = f"{ours / theirs:.2f} times its {theirs:,.1f} documents/s"
    assert beside in "\n".join(evaluation_lines(found))
    html = report.read_text()
    assert html.count("<svg") == 6
    for text in [*pl.read_ndjson(data)["text"]]:
        assert len(text) < 20 or (text not in html and text not in done.output)


@pytest.mark.parametrize(
    ("model", "labels", "metric"),
    [
        ("several", [["a", "b"], ["c"], [], ["a"]] * 5, "micro_f1"),
        ("number", [0.5, 1.5, -2.0, 3.0] * 5, "spearman"),
    ],
)
def test_the_model_says_what_kind_of_problem_it_is(
    run: Evaluate, models: Path, tmp_path: Path, model: str, labels: list[Any], metric: str
) -> None:
    rows = rows_of(tmp_path / "rows.jsonl", labels)

    done = run(models / model, "--data", rows, *FEW, "--skip", "efficiency")

    assert done.exit_code == 0, done.output
    assert metric in done.stdout
    assert "too few to judge by" in done.stdout


def test_rows_are_scored_as_a_job_scores_them(models: Path, tmp_path: Path) -> None:
    storage = Storage()
    store = ModelStore(storage, tmp_path / "cache")
    model = load_model(store, pin_model(storage, str(models / "one")), device="cpu", threads=1)
    texts = ["good film", " ", *ordinary_texts(30, seed=8), "word " * 400, "good film"]

    for long_text in ("truncate", "windows"):
        found = evaluate_rows(model, texts, np.zeros(len(texts), int), long_text=long_text)
        expected = score_texts(model, texts, long_text)
        assert found.errors == {1: "text_blank"}
        for row, each in enumerate(expected):
            if row == 1:
                assert np.isnan(found.scores[row]).all()
                continue
            assert each.scores is not None
            assert found.scores[row] == pytest.approx(list(each.scores.values()), abs=1e-5)
            assert found.tokens[row] == each.n_tokens
            assert model.labels[found.predicted[row]] == each.label


def test_a_gate_passes_or_ends_with_6_and_says_what_failed(
    run: Evaluate, models: Path, data: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate.yaml"
    args = (models / "one", "--data", data, "--baseline", models / "one", "--gate", gate, *QUICK)

    gate.write_text("accuracy: {min: 0.1, max_drop: 0}\ncalibration.ece: {max: 1}\n")
    passed = run(*args)
    gate.write_text("accuracy: {min: 0.99}\nrobustness.typos.flip_rate: {max: 0.5}\n")
    failed = run(*args)
    alone = run(models / "one", "--data", data, "--gate", gate, *QUICK, "--json")

    assert (passed.exit_code, failed.exit_code, alone.exit_code) == (0, 6, 6), passed.output
    assert passed.stdout.count("passed") == 3
    assert failed.stdout.count("FAILED") == 2
    assert "is below 0.99; robustness.typos.flip_rate: not recorded" in failed.stderr
    assert [each["passed"] for each in json.loads(alone.stdout)["gate"]] == [False, False]


def test_a_recorded_evaluation_is_what_promote_asks(
    run: Evaluate, models: Path, data: Path, tmp_path: Path
) -> None:
    registry = Registry(Storage(), str(tmp_path / "registry"))
    for version, name in (("1", "one"), ("2", "other")):
        register(registry, str(models / name), "m", version=version)
    strict = parse_gate(b"quality.accuracy: {min: 0.99}", "gate")
    comparing = parse_gate(b"accuracy: {min: 0.1, max_drop: 0.9}", "gate")
    with pytest.raises(GateFailed, match="no metrics were recorded"):
        promote(registry, "m@1", "prod")

    done = [run(f"m@{v}", "--data", data, *QUICK, "--record", "--json") for v in ("1", "2")]

    assert [each.exit_code for each in done] == [0, 0], done[0].output
    first = registry.resolve("m@1")
    kept = measured(registry, first)
    assert kept is not None
    assert kept["quality"] == json.loads(done[0].stdout)["quality"]
    assert registry.versions("m")[0] == first
    assert [e.action for e in registry.history("m")].count("evaluate") == 2
    shown = CliRunner().invoke(build_app(), ["models", "show", "m@1"], catch_exceptions=False)
    assert f"{ROWS} rows" in shown.stdout
    assert "quality.macro_f1" in shown.stdout
    assert promote(registry, "m@1", "prod").version == "1"
    with pytest.raises(GateFailed, match=r"is below 0\.99"):
        promote(registry, "m@2", "prod", gate=strict)
    assert promote(registry, "m@2", "prod", gate=comparing).version == "2"

    other = rows_of(tmp_path / "other.jsonl", ["negative", "positive"] * 20)
    assert run("m@1", "--data", other, *QUICK, "--record").exit_code == 0
    pl.concat([pl.read_ndjson(data), pl.read_ndjson(other)]).write_ndjson(other)
    assert run("m@1", "--data", other, *QUICK, "--record").exit_code == 0
    with pytest.raises(GateFailed, match="measured on other data"):
        promote(registry, "m@1", "prod", gate=comparing)


def test_what_is_bad_ends_with_2_and_says_what_and_where(
    run: Evaluate, models: Path, data: Path, tmp_path: Path
) -> None:
    bad = {
        "unknown": rows_of(tmp_path / "unknown.jsonl", ["positive", "negative", "angry"]),
        "missing": rows_of(tmp_path / "missing.jsonl", ["positive", None]),
        "one": rows_of(tmp_path / "one.jsonl", ["positive"] * 3),
        "equal": rows_of(tmp_path / "equal.jsonl", [2.0] * 3),
        "none": rows_of(tmp_path / "none.jsonl", [[], []]),
        "blank": rows_of(tmp_path / "blank.jsonl", ["positive", "negative"], [" ", "\t"]),
        "empty": tmp_path / "empty.jsonl",
        "header": tmp_path / "header.csv",
    }
    bad["empty"].touch()
    bad["header"].write_text("text,label\n")
    (tmp_path / "no.yaml").write_text("accuracy: {least: 1}")
    (tmp_path / "drop.yaml").write_text("accuracy: {max_drop: 0.1}")
    one = models / "one"
    cases: list[tuple[Sequence[object], str]] = [
        ((one, "--data", bad["unknown"]), "unknown.jsonl, row 2: label 'angry' is none of"),
        ((one, "--data", bad["missing"]), "missing.jsonl, row 1: nothing in column 'label'"),
        ((one, "--data", bad["one"]), "row 0: every row has the label 'positive'"),
        ((models / "number", "--data", bad["equal"]), "every row has the value 2"),
        ((models / "several", "--data", bad["none"]), "no row has a label"),
        ((one, "--data", bad["blank"]), "no row of the data could be scored (text_blank)"),
        ((one, "--data", bad["empty"]), "empty.jsonl is empty"),
        ((one, "--data", bad["header"]), "there are no rows"),
        ((one, "--data", data, "--text-column", "body"), "has no column 'body'"),
        ((one, "--data", data, "--problem", "regression"), "is made for single-label"),
        ((models / "number", "--data", data), "holds no finite number"),
        ((tmp_path / "nowhere", "--data", data), "nowhere does not exist"),
        ((tmp_path, "--data", data), "there is no config.json"),
        ((one, "--data", data, "--baseline", models / "several"), "it has other labels"),
        ((one, "--data", data, "--gate", tmp_path / "no.yaml"), "accuracy.least"),
        ((one, "--data", data, "--gate", tmp_path / "drop.yaml"), "give a --baseline"),
        ((one, "--data", data, "--gate", tmp_path / "gone.yaml"), "gone.yaml does not exist"),
        ((one, "--data", data, "--report", tmp_path), "is a folder"),
        ((one, "--data", data, "--report", tmp_path / "no" / "r.html"), "there is no folder"),
        ((one, "--data", data, "--record"), "only a registered version"),
        ((one, "--data", data, "--skip", "quality"), "give efficiency, robustness, slices"),
        ((one, "--data", data, "--max-length", "4000"), "reads at most"),
    ]

    for args, told in cases:
        done = run(*args)
        assert (done.exit_code, done.stdout) == (2, ""), (told, done.output)
        assert told in done.stderr, done.stderr


def test_without_a_registry_a_registered_name_is_a_matter_of_configuration(
    run: Evaluate, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BULKSCORE_MODELS_URI")

    assert run("m@1", "--data", data).exit_code == 78


@pytest.mark.slow
def test_the_command_becomes_the_module(models: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("accuracy: {min: 1}")

    done = run_cli(
        *("evaluate", str(models / "one"), "--data", str(data), *QUICK),
        *("--gate", str(tmp_path / "gate.yaml")),
        env={"BULKSCORE_MODEL_CACHE_DIR": str(tmp_path), "BULKSCORE_TORCH_THREADS": "1"},
    )

    assert done.exit_code == 6, done
    assert "accuracy  min 1.0" in done.stdout
