"""`compress` finds the smallest model that is good enough, and writes that one, whole, or none."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from producer.registry import measured
from schemas.errors import UsageError
from schemas.job import ModelPin
from schemas.labelled import LabelledColumns, read_labelled
from schemas.model_files import pin_model
from schemas.registry import Registry
from schemas.results import footer_metadata
from schemas.storage import Storage
from support.models import tiny_model
from support.stored_jobs import account_of
from support.texts import ordinary_texts
from worker.lifecycle import compress
from worker.lifecycle.quantizing import store_bf16
from worker.lifecycle.register import register
from worker.lifecycle.teacher_scores import engine_logits, job_logits
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model

pytestmark = pytest.mark.integration

ROWS = 120
SPEED: dict[str, Any] = {
    **dict.fromkeys(
        ("documents_per_second", "latency_p50_seconds", "model_bytes", "peak_memory_bytes"), 1.0
    ),
    **{"parameters": 1, "dtype": "fp32", "device": "cpu", "device_name": "-", "threads": 1},
}
Compress = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose matrices are wide enough that the scales of 8 bits take little room."""
    return tiny_model(
        tmp_path_factory.mktemp("models") / "teacher",
        hidden=128,
        layers=4,
        num_attention_heads=4,
        intermediate_size=256,
    )


def load(folder: Path, cache: Path) -> LoadedModel:
    pin = pin_model(Storage(), str(folder))
    return load_model(ModelStore(Storage(), cache), pin, dtype="fp32", device="cpu", threads=1)


@pytest.fixture(scope="module")
def data(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with the labels that the model itself gives: it is always right."""
    folder = tmp_path_factory.mktemp("data")
    loaded = load(model, folder / "cache")
    for name, seed in (("train", 5), ("test", 6)):
        texts = ordinary_texts(ROWS, seed=seed)
        said = engine_logits(loaded, texts).argmax(axis=1)
        labels = [loaded.labels[i] for i in said]
        pl.DataFrame({"text": texts, "label": labels}).write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compress:
    """Run the command in this process, with a cache and a registry of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_MODELS_URI", str(tmp_path / "registry"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    return lambda *args: CliRunner().invoke(
        compress.app, [*map(str, args), "--resamples", "100"], catch_exceptions=False
    )


def stat(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


def test_a_version_in_8_bits_is_registered_with_parent_card_and_table_under_an_allow_list(
    model: Path, data: Path, tmp_path: Path, run: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(Storage(), str(tmp_path / "registry"))
    register(registry, str(model), "m", version="1")
    monkeypatch.setenv("BULKSCORE_ALLOWED_URIS", f"{registry.root},{data}")

    done = run(
        *("m@1", "--method", "int8", "--data", data / "test.parquet"),
        *("--max-drop", "0.05", "--out", "m", "--json"),
    )

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    version = registry.resolve(found["out"])
    assert version.parent is not None
    assert version.parent.ref == "m@1"
    assert {"model_card.md", "compression.json", "metrics.json"} <= {
        file.path for file in version.documents
    }
    sizes = [found[side]["efficiency"]["model_bytes"] for side in ("before", "after")]
    assert sizes[1] < sizes[0]
    folder = Path(registry.folder(version))
    assert stat(folder) <= 0.3 * stat(model)
    assert (measured(registry, version) or {})["accuracy"] >= 0.95
    assert found["agreement"]["same_label"] == found["after"]["quality"]["accuracy"]
    for side in ("before", "after"):
        assert [0 <= layer["zero"] < 0.1 for layer in found[side]["activations"]] == [True] * 4
        assert found[side]["efficiency"]["documents_per_second"] > 0
        assert 1e7 < found[side]["efficiency"]["peak_memory_bytes"] < 1e10
    # Another compression of it is refused, and a worker that loads it finds its golden texts.
    again = run(found["out"], "--method", "bf16", "--data", data / "test.parquet", "--out", "./x")
    assert again.exit_code == 2
    assert "8 bits already" in again.stderr
    worker = load_model(
        ModelStore(Storage(), tmp_path / "cache"),
        pin_model(Storage(), found["out"], registry.root),
        device="cpu",
        threads=1,
    )
    assert worker.pin.signature is not None


@pytest.mark.usefixtures("no_speed")
def test_bf16_halves_the_weights_and_little_else(
    model: Path, data: Path, tmp_path: Path, run: Compress
) -> None:
    done = run(
        *(model, "--method", "bf16", "--data", data / "test.parquet", "--max-drop", "0.05"),
        *("--out", tmp_path / "half"),
    )

    assert done.exit_code == 0, done.output
    assert "size on disk" in done.stdout
    assert stat(tmp_path / "half") < 0.52 * stat(model)
    texts = ordinary_texts(20, seed=9)
    before, after = (
        engine_logits(load(f, tmp_path / "c"), texts) for f in (model, tmp_path / "half")
    )
    assert 0 < np.abs(before - after).max() < 0.2


@pytest.fixture
def no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the two processes in which speed is measured."""
    monkeypatch.setattr("worker.lifecycle.compress_judge.measure_beside", lambda *_: [SPEED] * 2)


@pytest.mark.usefixtures("no_speed")
@pytest.mark.parametrize(
    ("method", "key", "whole", "max_drop"),
    [
        ("prune-ffn", "intermediate_size", 256, 0.3),
        ("prune-heads", "bulkscore_attention_heads", 4, 0.6),
        ("prune-layers", "num_hidden_layers", 4, 0.6),
    ],
)
def test_what_is_cut_is_as_much_as_the_threshold_allows(
    model: Path,
    data: Path,
    tmp_path: Path,
    run: Compress,
    method: str,
    key: str,
    whole: int,
    max_drop: float,
) -> None:
    done = run(
        *(model, "--method", method, "--data", data / "test.parquet", "--epochs", "0"),
        *("--train-data", data / "train.parquet", "--max-drop", max_drop, "--out", "./small"),
        "--json",
    )

    assert done.exit_code == 0, done.output
    found, small = json.loads(done.stdout), tmp_path / "small"
    kept = found["kept"]["size"]
    assert json.loads((small / "config.json").read_text())[key] == kept < whole
    assert found["drop"] <= max_drop + 1e-9
    assert all(t["size"] < kept for t in found["tries"] if not t["passed"])
    assert stat(small) < stat(model)
    again = read_labelled(Storage(), [str(data / "test.parquet")], LabelledColumns())
    said = engine_logits(load(small, tmp_path / "c"), again.texts).argmax(axis=1)
    right = np.mean([("negative", "positive")[i] for i in said] == np.array(again.labels))
    assert right == pytest.approx(found["after"]["quality"]["accuracy"])
    assert (small / "README.md").read_text().count("|") > 20


@pytest.mark.usefixtures("no_speed")
@pytest.mark.parametrize("student", [(), ("--student", "bilstm")])
def test_a_student_is_taught_in_its_own_way(
    model: Path, data: Path, tmp_path: Path, run: Compress, student: tuple[str, ...]
) -> None:
    done = run(
        *(model, "--method", "distil", "--data", data / "test.parquet", *student),
        *("--train-data", data / "train.parquet", "--max-drop", "1", "--out", "./student"),
        "--json",
    )

    assert done.exit_code == 0, done.output
    pin = pin_model(Storage(), str(tmp_path / "student"))
    assert pin.labels == ("negative", "positive")
    assert pin.model_type == ("bilstm" if student else "bert")
    assert json.loads(done.stdout)["training"]["temperature"] == 2.0


@pytest.mark.usefixtures("no_speed")
def test_nothing_is_written_when_nothing_is_good_enough(
    model: Path, data: Path, tmp_path: Path, run: Compress
) -> None:
    done = run(
        *(model, "--method", "prune-layers", "--data", data / "test.parquet", "--epochs", "0"),
        *("--train-data", data / "train.parquet", "--max-drop", "0", "--out", "./small"),
    )

    assert done.exit_code == 6
    assert "nothing is written" in done.stderr
    assert not (tmp_path / "small").exists()
    assert not list(tmp_path.glob(".small*"))


@pytest.mark.usefixtures("no_speed")
def test_a_full_disk_leaves_nothing_under_the_name(
    model: Path, data: Path, small_disk: Path, run: Compress
) -> None:
    (small_disk / "filler").write_bytes(bytes(3_900_000))

    done = run(
        *(model, "--method", "bf16", "--data", data / "test.parquet", "--max-drop", "0.05"),
        *("--out", small_disk / "half"),
    )

    assert done.exit_code == 69, done.output
    assert "no space left" in done.stderr
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


KILLED = """
import os, signal, sys
from pathlib import Path
from schemas.storage import Storage
from worker.lifecycle import compress, compress_judge, compressing
import worker.lifecycle.compress_out, worker.lifecycle.register, transformers  # once for all

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

speed = {FIGURES}
compress_judge.measure_beside = lambda *_: [speed] * 2
ends = []
for owner, name, out in (
    (compressing.Compressor, "_record", "m"), (Storage, "create", "m"), (Path, "rmdir", "./small")
):
    if not (child := os.fork()):
        setattr(owner, name, die)
        compress.app([*sys.argv[1:], out])
    ends.append(os.waitpid(child, 0)[1])
sys.exit(ends != [signal.SIGKILL] * 3)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("no_speed")
def test_the_same_command_starts_anew_after_it_was_killed_in_search_or_in_publishing(
    model: Path, data: Path, tmp_path: Path, run: Compress, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(Storage(), str(tmp_path / "registry"))
    register(registry, str(model), "m", version="1")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    given = ["m@1", "--method", "bf16", "--data", str(data / "test.parquet"), "--max-drop", "1"]

    subprocess.run(
        [sys.executable, "-c", KILLED.replace("{FIGURES}", repr(SPEED)), *given, "--out"],
        check=True,
        timeout=200,
    )

    assert [version.version for version in registry.versions("m")] == ["1"]
    assert len(list((tmp_path / "registry" / "m").glob("**/model.safetensors"))) == 2
    assert (tmp_path / ".small.unfinished").is_dir()
    assert not (tmp_path / "small").exists()
    assert any(scratch.glob("*/size-16/model.safetensors"))
    for out in ("m", "./small"):
        done = run(*given, "--out", out)
        assert done.exit_code == 0, done.output
    assert len(registry.versions("m")) == 2
    assert stat(tmp_path / "small") < stat(model)
    assert not list(tmp_path.glob(".small*"))
    assert not list(scratch.glob("*/"))


BAD = {
    "no data": (("--method", "bf16", "--data", "gone.csv"), "gone.csv"),
    "no metric": (("--method", "bf16", "--metric", "bleu"), "accuracy, "),
    "no training data": (("--method", "prune-ffn"), "--train-data"),
    "data for nothing": (("--method", "int8", "--train-data", "a.csv"), "leave --train-data out"),
    "a student of none": (("--method", "int8", "--layers", "2"), "--method distil"),
    "as deep as its teacher": (
        ("--method", "distil", "--layers", "4", "--train-data", "DATA"),
        "is no less",
    ),
    "taken": (("--method", "bf16", "--out", "./taken"), "exists already"),
    "another family": (("--method", "prune-ffn", "--train-data", "DATA", "GPT"), "gpt2"),
    "half already": (("--method", "bf16", "HALF"), "in bf16 already"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    model: Path, data: Path, tmp_path: Path, run: Compress, given: tuple[str, ...], message: str
) -> None:
    ref, arguments = model, [str(data / "test.parquet") if a == "DATA" else a for a in given]
    if "GPT" in arguments:
        arguments.remove("GPT")
        ref = tiny_model(tmp_path / "gpt", "gpt2")
    if "HALF" in arguments:
        arguments.remove("HALF")
        ref = tmp_path / "half"
        store_bf16(model, ref)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "something").touch()
    defaults = {"--data": str(data / "test.parquet"), "--out": "./out"}
    for name, value in defaults.items():
        arguments += [] if name in arguments else [name, value]

    done = run(ref, *arguments)

    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_teacher_is_read_from_the_result_of_a_job(
    model: Path, data: Path, tmp_path: Path
) -> None:
    storage, source = Storage(), str(data / "train.parquet")
    rows = read_labelled(storage, [source], LabelledColumns())
    loaded = load(model, tmp_path / "cache")
    logits = engine_logits(loaded, rows.texts)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(ROWS)
    write_result(tmp_path / "out", loaded.pin, source, order, [chances[i].tolist() for i in order])

    found = job_logits(storage, str(tmp_path / "out"), rows, loaded.pin)

    before = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(before, chances, atol=1e-5)
    other = loaded.pin.model_copy(update={"digest": "f" * 64})
    with pytest.raises(UsageError, match="not by"):
        job_logits(storage, str(tmp_path / "out"), rows, other)
    write_result(tmp_path / "part", loaded.pin, source, order[1:], [[0.5, 0.5]] * (ROWS - 1))
    with pytest.raises(UsageError, match=rf"row {order[0]} is not in it"):
        job_logits(storage, str(tmp_path / "part"), rows, loaded.pin)


def write_result(
    folder: Path, pin: ModelPin, source: str, places: Any, scores: list[list[float]]
) -> None:
    account = account_of(0, model_digest=pin.digest, model=pin.ref)
    table = pa.table(
        {
            "source_file": [source] * len(scores),
            "source_row": pa.array(places, pa.int64()),
            "scores": pa.array(scores, pa.list_(pa.float32())),
        }
    ).replace_schema_metadata(footer_metadata(account, "0" * 64))
    folder.mkdir()
    pq.write_table(table, folder / "part-000000.parquet")
