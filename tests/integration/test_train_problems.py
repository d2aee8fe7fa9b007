"""Every problem and every option that changes a training, and what is refused before it begins."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from schemas.errors import InputMissing, ModelIncompatible, SchemaMismatch, UsageError
from schemas.labelled import LabelledColumns
from schemas.model_files import pin_model
from schemas.storage import Storage
from support.families import change_json, save_tiny_classifier
from support.sentence_piece import save_sentence_piece
from support.sentences import BAD, GOOD, sentences
from worker.engine.loading import load_engine
from worker.lifecycle.train_out import CARD, CURVES, FolderOut
from worker.lifecycle.train_recipe import Recipe, Sources
from worker.lifecycle.train_report import METRICS, Metrics
from worker.lifecycle.train_run import train
from worker.lifecycle.train_work import Work, claim
from worker.tokenizer import Tokenizer


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with the labels 0 and 1."""
    return save_tiny_classifier(tmp_path_factory.mktemp("base") / "tiny", labels=("0", "1"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files to train, validate and test on."""
    found = {}
    for seed, (name, rows) in enumerate({"train": 160, "validation": 60, "test": 60}.items()):
        found[name] = str(tmp_path / f"{name}.parquet")
        sentences(rows, seed).write_parquet(found[name])
    return found


def train_here(tmp_path: Path, files: dict[str, str], recipe: Recipe, **columns: Any) -> Metrics:
    sources = Sources(
        data=(files["train"],),
        validation=(files["validation"],) if "validation" in files else (),
        test=(files["test"],) if "test" in files else (),
        columns=LabelledColumns(**columns),
    )
    return train(recipe, sources, FolderOut(tmp_path / "out"))


def test_several_labels_a_text_are_learnt(tmp_path: Path) -> None:
    rows = sentences(600, 1).with_columns(
        label=pl.concat_str(
            pl.when(pl.col("label") == 1).then(pl.lit("good")).otherwise(pl.lit("bad")),
            pl.when(pl.col("text").str.contains("room"))
            .then(pl.lit("|room"))
            .otherwise(pl.lit("")),
        )
    )
    files = {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    rows[:500].write_csv(files["train"])
    rows[500:].write_csv(files["test"])
    recipe = Recipe(
        base="tiny-bert",
        learning_rate=2e-3,
        epochs=6,
        class_weights="balanced",
        label_smoothing=0.05,
    )

    metrics = train_here(tmp_path, files, recipe, problem="multi-label")

    pin = pin_model(Storage(), str(tmp_path / "out"))
    assert (pin.problem_type, pin.labels) == ("multi_label_classification", ("bad", "good", "room"))
    assert metrics.test["macro_f1"] > 0.75  # 0 where nothing is learnt
    low, high = metrics.intervals["exact_match"]
    assert low < metrics.test["exact_match"] <= high


def test_a_number_is_learnt_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    rows = sentences(400, 1).with_columns(stars=pl.col("label") * 2.0 - 1.0)
    files = {"train": str(tmp_path / "train.jsonl"), "test": str(tmp_path / "test.jsonl")}
    rows[:320].write_ndjson(files["train"])
    rows[320:].write_ndjson(files["test"])
    recipe = Recipe(base="tiny-bert", learning_rate=2e-3, epochs=6, patience=3, validations=2)

    metrics = train_here(tmp_path, files, recipe, problem="regression", label="stars")

    pin = pin_model(Storage(), str(tmp_path / "out"))
    measured = {p["step"]: p["eval_rmse"] for p in metrics.curve if "eval_rmse" in p}
    assert (pin.problem_type, pin.labels) == ("regression", ("stars",))
    assert metrics.validation_rows == 32
    assert metrics.best_step == min(measured, key=measured.__getitem__)
    assert metrics.validation["rmse"] == pytest.approx(min(measured.values()), abs=1e-4)
    assert metrics.test["rmse"] < 0.7


def test_training_stops_early_and_says_where_its_weights_are_from(
    tmp_path: Path, base: Path, files: dict[str, str]
) -> None:
    recipe = Recipe(base=base, epochs=50, patience=2, learning_rate=1e-9, metric="accuracy")

    metrics = train_here(tmp_path, files, recipe)

    assert metrics.steps == 15  # five rows of 32 an epoch; the second and third gain nothing
    assert metrics.best_step == 5
    card = (tmp_path / "out" / CARD).read_text()
    assert "The weights are those of step 5" in card
    assert metrics.data["validation"] in card
    assert CURVES in card
    assert (tmp_path / "out" / CURVES).read_bytes().startswith(b"<?xml")
    written = json.loads((tmp_path / "out" / METRICS).read_text())
    assert written["accuracy"] == metrics.accuracy
    assert not any(text in card for text in (*GOOD, *BAD))


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "sgd", "schedule": "cosine"},
        {"optimizer": "adagrad", "schedule": "constant"},
        {"optimizer": "adam", "schedule": "inverse_sqrt", "accumulate": 3},
        {"schedule": "polynomial", "dropout": 0.2, "clip": 0.0, "precision": "bf16"},
    ],
    ids=lambda how: "-".join(map(str, how.values())),
)
def test_optimizers_and_schedules_move_the_weights(
    tmp_path: Path, base: Path, files: dict[str, str], how: dict[str, Any]
) -> None:
    metrics = train_here(tmp_path, {"train": files["train"]}, Recipe(base=base, epochs=2, **how))

    before, after = (load_file(f / "model.safetensors") for f in (base, tmp_path / "out"))
    assert all((before[name] != after[name]).any() for name in before if "position" not in name)
    rates = [point["learning_rate"] for point in metrics.curve if "loss" in point]
    assert len(rates) == metrics.steps
    assert max(rates) == pytest.approx(Recipe(base=base, **how).largest_step)


def test_balanced_weights_give_a_rare_label_the_same_say(tmp_path: Path, base: Path) -> None:
    rows = sentences(320, 1, good_share=0.1)
    rows.with_columns(text=pl.lit("the room was")).write_parquet(tmp_path / "train.parquet")
    how: dict[str, Any] = {"base": base, "learning_rate": 1e-2, "epochs": 5, "freeze_encoder": True}
    shares = {}

    for weights in ("none", "balanced"):
        sources = Sources(data=(str(tmp_path / "train.parquet"),))
        train(Recipe(**how, class_weights=weights), sources, FolderOut(tmp_path / weights))
        pin = pin_model(Storage(), str(tmp_path / weights))
        engine = load_engine(tmp_path / weights, pin, device="cpu", dtype="fp32", threads=1)
        (logits,) = engine.forward(Tokenizer(tmp_path / weights, 64).encode(["the room was"]).ids)
        shares[weights] = float(1 / (1 + np.exp(logits[0] - logits[1])))

    assert shares["none"] < 0.2
    assert 0.35 < shares["balanced"] < 0.65


def test_a_search_keeps_the_best_and_does_not_try_again(
    tmp_path: Path, base: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(base=base, epochs=1, search=3)

    metrics = train_here(tmp_path, files, recipe)

    values = [trial["value"] for trial in metrics.search if trial["value"] is not None]
    best = next(t for t in metrics.search if t["value"] == max(values))
    assert len(metrics.search) == 3
    assert metrics.search[0]["learning_rate"] == pytest.approx(1e-4)
    assert metrics.recipe["learning_rate"] == best["learning_rate"]
    assert metrics.validation["macro_f1"] == pytest.approx(best["value"], abs=1e-3)
    assert "trial 3/3: batch size" in capsys.readouterr().err


def bad_label(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(label=pl.Series([9, *rows["label"][1:]]))


@pytest.mark.parametrize(
    ("spoilt", "change", "error", "match"),
    [
        ("train", lambda t: t.filter(pl.col("label") == 1), UsageError, "one label only .'1'."),
        ("train", lambda t: t.rename({"text": "body"}), SchemaMismatch, "no column 'text'"),
        ("train", lambda t: t[:0], SchemaMismatch, "no rows"),
        ("validation", lambda t: t[:0], SchemaMismatch, "validation.parquet: there are no rows"),
        ("validation", bad_label, UsageError, "validation.parquet, row 0: label '9' is none of"),
        ("test", bad_label, UsageError, "test.parquet, row 0: label '9' is none of 0, 1"),
        (
            "test",
            lambda t: t.with_columns(label=pl.lit(None, pl.Int64)),
            SchemaMismatch,
            "test.parquet, row 0: nothing in column 'label'",
        ),
        ("train", lambda t: bad_label(t), UsageError, "labels that the head of the base lacks: 9"),
    ],
)
def test_bad_data_are_refused_and_nothing_is_written(
    tmp_path: Path,
    base: Path,
    files: dict[str, str],
    spoilt: str,
    change: Any,
    error: Any,
    match: str,
) -> None:
    table = pl.read_parquet(files[spoilt])
    change(table).write_parquet(files[spoilt])

    with pytest.raises(error, match=match):
        train_here(tmp_path, files, Recipe(base=base))

    assert {path.name for path in tmp_path.iterdir()} == {Path(f).name for f in files.values()}


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "does not load"),
        (
            lambda f: (f / "tokenizer.json").write_text('{"model": {"type": "None"}}'),
            "does not load",
        ),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: change_json(f / "config.json", auto_map={"AutoModel": "x.Y"}), "'auto_map'"),
        (lambda f: change_json(f / "config.json", model_type="odd"), "is of type 'odd'"),
        (lambda f: (f / "model.safetensors").unlink(), "does not load"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "does not load"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"w": "../../stolen.safetensors"}}'
            ),
            "not a plain",
        ),
    ],
)
def test_a_base_that_is_unsafe_or_not_whole_is_refused(
    tmp_path: Path, files: dict[str, str], spoil: Any, match: str
) -> None:
    folder = save_tiny_classifier(tmp_path / "spoilt", labels=("0", "1"))
    spoil(folder)

    with pytest.raises(ModelIncompatible, match=match):
        train_here(tmp_path, files, Recipe(base=folder))

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("left", [0, 500, -1])
@pytest.mark.parametrize("max_length", [None, 32])  # by the lengths of the texts, or given
def test_a_base_whose_file_of_sentence_piece_is_cut_off_is_refused(
    tmp_path: Path, files: dict[str, str], max_length: int | None, left: int
) -> None:
    folder = save_tiny_classifier(tmp_path / "spoilt", "xlnet", labels=("0", "1"))
    file = save_sentence_piece(folder, "xlnet") / "spiece.model"
    file.write_bytes(file.read_bytes()[:left])

    with pytest.raises(ModelIncompatible, match=r"does not load: ValueError: spiece\.model cannot"):
        train_here(tmp_path, files, Recipe(base=folder, max_length=max_length))

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"base": "nowhere"}, InputMissing, "model nowhere does not exist"),
        ({"max_length": 4000}, UsageError, "reads at most 128 tokens"),
        ({"freeze_layers": 2}, UsageError, "the model has 2 layers"),
        ({"metric": "rmse"}, UsageError, "of single-label there are"),
    ],
)
def test_options_that_do_not_fit_the_base_are_refused(
    tmp_path: Path, base: Path, files: dict[str, str], how: dict[str, Any], error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        train_here(tmp_path, files, Recipe(**{"base": base, **how}))

    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_and_the_training_goes_on_when_there_is_room(
    small_disk: Path, base: Path, files: dict[str, str]
) -> None:
    recipe = Recipe(base=base, epochs=1)
    filling = small_disk / "filling"
    filling.write_bytes(b"x" * 3_700_000)

    with pytest.raises(UsageError, match="no space left"):
        train_here(small_disk, files, recipe)

    assert not (small_disk / "out").exists()
    assert not list((small_disk / "out.training" / "checkpoints").glob("*"))
    filling.unlink()
    assert train_here(small_disk, files, recipe).steps == 5
    assert {path.name for path in small_disk.iterdir()} == {"out"}


def test_a_work_folder_is_not_shared_and_not_mistaken(
    tmp_path: Path, base: Path, files: dict[str, str]
) -> None:
    with (
        claim(tmp_path / "out.training", {"recipe": {"seed": 0}}),
        pytest.raises(UsageError, match="another process trains there"),
    ):
        train_here(tmp_path, files, Recipe(base=base))
    with pytest.raises(UsageError, match="of another recipe or other data"):
        train_here(tmp_path, files, Recipe(base=base))


def test_what_was_killed_after_its_model_was_in_place_is_done(
    tmp_path: Path, base: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, work = Recipe(base=base, epochs=1), tmp_path / "out.training"
    with monkeypatch.context() as patched:
        patched.setattr(Work, "remove", lambda _: None)
        first = train_here(tmp_path, files, recipe)
    assert work.exists()

    again = train_here(tmp_path, files, recipe)

    assert again == first
    assert not work.exists()
    with pytest.raises(UsageError, match="exists already"):
        train_here(tmp_path, files, recipe)
