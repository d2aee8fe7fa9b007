"""A profile counts what labelled data is like, and warns of what would spoil a training."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.errors import InputMissing
from schemas.labelled import LabelledColumns
from schemas.storage import Storage
from support.data import require_data
from support.families import save_tiny_classifier
from support.minilm import minilm_encoder
from worker.lifecycle.data_warnings import half_width
from worker.lifecycle.profile import Profile, TokensOf, profile
from worker.lifecycle.same_text import normal_form
from worker.lifecycle.scripts import scripts_of


def written(path: Path, rows: Sequence[tuple[str | None, Any]]) -> str:
    pl.DataFrame(list(rows), schema=["text", "label"], orient="row").write_ndjson(path)
    return str(path)


def profiled(data: str, *test: str, tokens: TokensOf | None = None, **columns: Any) -> Profile:
    return profile(Storage(), [data], list(test), LabelledColumns(**columns), tokens)


def test_a_profile_counts_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    data = written(
        tmp_path / "data.jsonl",
        [
            ("A good film.", "good"),
            ("a GOOD film", "good"),
            ("A good film.", "bad"),
            ("dull", "bad"),
            ("", "bad"),
            (None, "bad"),
            ("unsure", None),
        ],
    )

    found = profiled(data).data

    assert (found.rows, found.blank_rows, found.unlabelled_rows) == (7, 2, 1)
    assert [(label.name, label.rows) for label in found.labels] == [("bad", 4), ("good", 2)]
    assert (found.repeats.exact_rows, found.repeats.rows) == (1, 2)
    assert (found.repeats.conflicting_texts, found.repeats.conflicting_rows) == (1, 3)
    assert (found.characters.p50, found.characters.longest) == (6, 12)


def test_test_rows_that_were_trained_on_are_found_whatever_their_case_and_punctuation(
    tmp_path: Path,
) -> None:
    data = written(tmp_path / "train.jsonl", [("A good film.", "1"), ("dull", "0")])
    test = written(tmp_path / "test.jsonl", [("dull", "0"), ("a good film", "1"), ("new", "0")])

    found = profiled(data, test)

    assert found.leakage is not None
    assert (found.leakage.exact_rows, found.leakage.rows, found.leakage.places) == (1, 2, (0, 1))
    (leak,) = (line for line in found.warnings if "text of the training" in line)
    assert f"{test}, row 0; {test}, row 1" in leak
    assert "film" not in leak


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([("x", "a"), ("y", "a")], [], "one label only"),
        ([(f"x{i}", "ab"[i == 0]) for i in range(50)], [], "skewed: 49 rows of 'a', 1 of 'b'"),
        ([(f"x{i}", "ab"[i == 0]) for i in range(50)], [], "fewer than 20 rows of 'b'"),
        ([(f"x{i}", f"label {i}") for i in range(50)], [], "is it the right column"),
        ([("x", "a"), ("X!", "b")], [], "1 texts have different labels"),
        ([("x", "a")], [("y", "c")], "labels that the training data lacks: 'c'"),
        ([("x", "a")], [(f"y{i}", "a") for i in range(100)], "100 rows: an accuracy"),
        ([("x", "a")], [(f"y{i}", "a") for i in range(50)], "too few rows of 'a'"),
    ],
)
def test_what_would_spoil_a_training_is_warned_of(
    tmp_path: Path, train: list[tuple[str, str]], test: list[tuple[str, str]], told: str
) -> None:
    tests = [written(tmp_path / "test.jsonl", test)] if test else []

    found = profiled(written(tmp_path / "train.jsonl", train), *tests)

    assert any(told in line for line in found.warnings), found.warnings


@pytest.mark.parametrize("rows", [10, 100, 384, 1_000])
def test_the_half_width_is_that_of_wilsons_formula(rows: int) -> None:
    z = 1.959964

    assert half_width(rows) == pytest.approx(z / (2 * (rows + z * z) ** 0.5), rel=1e-4)


def test_numbers_and_several_labels_have_profiles_of_their_own(tmp_path: Path) -> None:
    numbers = written(tmp_path / "numbers.jsonl", [("x", 1.0), ("X", 4.0)])
    several = written(tmp_path / "several.jsonl", [("x", ["a", "b"]), ("y", ["b"]), ("z", [])])

    regression = profiled(numbers, problem="regression").data
    labels = profiled(several, problem="multi-label").data.labels

    assert regression.values is not None
    assert (regression.values.smallest, regression.values.mean) == (1.0, 2.5)
    assert regression.repeats.conflicting_texts == 0
    assert [(label.name, label.rows) for label in labels] == [("b", 2), ("a", 1)]


def test_tokens_are_counted_by_the_tokenizer_of_an_encoder(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    data, encoder = str(require_data("sst2/test.csv")), minilm_encoder()
    texts = pl.read_csv(data, has_header=False, infer_schema=False).to_series(0).to_list()
    ids = AutoTokenizer.from_pretrained(encoder)(texts)["input_ids"]
    lengths = sorted(len(i) for i in ids)

    found = profiled(data, tokens=TokensOf(model=str(encoder), max_length=32)).data.tokens

    assert found is not None
    assert found.lengths.longest == lengths[-1]
    assert found.lengths.p50 == lengths[-(-len(lengths) // 2) - 1]
    assert found.truncated_rows == sum(n > 32 for n in lengths)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    data = written(tmp_path / "data.jsonl", [("x", "a")])

    with pytest.raises(InputMissing, match="nowhere"):
        profiled(data, tokens=TokensOf(model=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain words", "Latin"),
        ("这家酒店的服务很好 very", "Han (Chinese)"),
        ("この映画はとても面白かったです。", "kana (Japanese)"),
        ("Очень хорошо", "Cyrillic"),
        ("สวัสดี", "Thai"),
        ("123 !", "no letters"),
        (None, "no letters"),
        ("አማርኛ", "other"),
    ],
)
def test_the_script_of_most_letters_is_told(text: str | None, script: str) -> None:
    assert scripts_of(pl.Series([text], dtype=pl.String)).to_list() == [script]


def test_texts_without_a_word_are_told_apart() -> None:
    texts = pl.Series(["It's  GOOD!", "it s good", "😀!", "😀", "हिन्दी", " ", None])

    assert normal_form(texts).to_list() == ["it s good", "it s good", "😀!", "😀", "हिन्दी", "", ""]


def test_public_sets_have_the_rows_their_description_says() -> None:
    data, test = (str(require_data(f"chnsenticorp/{name}.csv")) for name in ("train", "test"))

    found = profiled(data, test)

    assert [(label.name, label.rows) for label in found.data.labels] == [("1", 3220), ("0", 1480)]
    assert found.data.scripts[0].name == "Han (Chinese)"
    assert found.data.scripts[0].share > 0.99
    assert found.leakage is not None
    assert found.leakage.rows == 0


@pytest.mark.slow
def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    data = written(tmp_path / "train.jsonl", [("A good film.", "1"), ("dull", "0")])
    model = save_tiny_classifier(tmp_path / "model")
    command = [sys.executable, "-m", "worker.lifecycle.profiling", "--data", data]

    text, as_json, bad = (
        subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
        for more in (["--model", str(model)], ["--json"], ["--text-column", "body"])
    )

    assert text.returncode == as_json.returncode == 0, text.stderr + as_json.stderr
    assert "2 rows" in text.stdout
    assert "tokens" in text.stdout
    assert json.loads(as_json.stdout)["data"]["labels"][0]["rows"] == 1
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "has no column 'body'" in bad.stderr
