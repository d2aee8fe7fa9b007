"""Training writes a classifier that scores, whole or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import ModelIncompatible, UsageError
from schemas.labelled import LabelledTexts, Problem
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import save_tiny_classifier
from support.sentences import run_train, sentences
from worker.lifecycle.labelled import label_names, targets
from worker.lifecycle.tiny import train_tiny
from worker.lifecycle.train_out import FolderOut
from worker.lifecycle.train_recipe import Recipe, Sources
from worker.lifecycle.train_report import METRICS, Metrics
from worker.lifecycle.train_run import train


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_on(data: Path, out: Path, recipe: Recipe) -> Metrics:
    return train(recipe, Sources(data=(str(data),)), FolderOut(out))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "train.parquet"
    sentences(600, seed=1).write_parquet(path)
    return path


def test_a_tiny_classifier_from_nothing_learns_templated_sentences(
    data: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test.csv"
    sentences(200, seed=2).write_csv(test, include_header=False, quote_style="non_numeric")

    metrics = train_tiny(data, tmp_path / "tiny", test, labels=("bad", "good"))

    pin = pin_model(Storage(), str(tmp_path / "tiny"))
    assert metrics.accuracy is not None
    assert metrics.accuracy > 0.95
    assert (metrics.train_rows, metrics.test_rows) == (600, 200)
    assert pin.labels == metrics.labels == ("bad", "good")
    assert json.loads((tmp_path / "tiny" / METRICS).read_text())["accuracy"] == metrics.accuracy


def test_only_the_files_of_a_model_are_written(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"

    train_tiny(data, out, epochs=0.1)

    assert {path.name for path in out.iterdir()} == {
        "README.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_curves.svg",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "train.parquet"}


def test_a_seed_decides_the_weights(data: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        train_tiny(data, tmp_path / name, epochs=0.1, seed=seed)

    one, same, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same
    assert one != other


def test_a_frozen_encoder_keeps_its_weights(data: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    base = save_tiny_classifier(tmp_path / "base", labels=("a", "b"))

    train_on(data, tmp_path / "out", Recipe(base=base, epochs=0.2, freeze_encoder=True))

    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_an_encoder_that_lacks_weights_of_its_own_is_refused(data: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    base = save_tiny_classifier(tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelIncompatible, match="lacks weights of the encoder"):
        train_on(data, tmp_path / "out", Recipe(base=base))

    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_never_written_to(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")

    with pytest.raises(UsageError, match="exists already"):
        train_tiny(data, out)

    assert [path.name for path in out.iterdir()] == ["precious.txt"]


@pytest.mark.slow
def test_the_command_prints_metrics_on_stdout_and_progress_on_stderr(
    data: Path, tmp_path: Path
) -> None:
    base = save_tiny_classifier(tmp_path / "base")
    files = ("--model", base, "--data", data, "--out", tmp_path / "out")
    options = (*files, "--epochs", "1", "--new-head")

    done = run_train(*options, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["train_rows"] == 600
    assert "step 19/19" in done.stderr
    again = run_train(*options, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("error [usage]: ")


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (["10", "2", "2"], None, ("2", "10")),
        (["b", "a"], None, ("a", "b")),
        (["b", "a"], ["b", "a"], ("b", "a")),
        (["0", "1"], ["negative", "positive"], ("negative", "positive")),
    ],
)
def test_labels_are_named_in_the_order_of_the_logits(
    labels: list[str], given: list[str] | None, expected: tuple[str, ...]
) -> None:
    assert label_names(labels, given) == expected


@pytest.mark.parametrize(
    ("labels", "given"), [(["a"], None), (["a", "b"], ["a", "c"]), (["0", "1", "2"], ["n", "p"])]
)
def test_labels_that_do_not_fit_the_data_are_refused(
    labels: list[str], given: list[str] | None
) -> None:
    with pytest.raises(UsageError):
        label_names(labels, given)


def rows_of(labels: list[object], problem: Problem = "single-label") -> LabelledTexts:
    rows = pl.DataFrame({"text": ["x"] * len(labels), "label": labels})
    rows = rows.with_columns(pl.lit("test.csv").alias("source_file")).with_row_index("source_row")
    return LabelledTexts(rows=rows, problem=problem)


def test_a_label_the_model_does_not_know_is_named_with_its_file_and_row() -> None:
    with pytest.raises(UsageError, match=r"test\.csv, row 1: label 'maybe'"):
        targets(rows_of(["yes", "maybe"]), ("no", "yes"))


@pytest.mark.parametrize(
    ("labels", "problem", "expected"),
    [
        (["yes", "no"], "single-label", [1, 0]),
        (["1", "0"], "single-label", [1, 0]),
        ([["yes"], [], ["no", "yes"]], "multi-label", [[0, 1], [0, 0], [1, 1]]),
        ([0.5, -2.0], "regression", [0.5, -2.0]),
    ],
)
def test_each_problem_has_its_own_targets(
    labels: list[object], problem: Problem, expected: list[object]
) -> None:
    assert targets(rows_of(labels, problem), ("no", "yes")).tolist() == expected


def test_training_warns_of_test_texts_that_are_trained_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny(data, tmp_path / "tiny", data, epochs=0.1)

    assert "warning: test data: 600 rows (100.0%) have a text" in capsys.readouterr().err
