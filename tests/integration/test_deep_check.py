"""Scoring a sample again: a sound result passes, and what the model would not give is named."""

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.deep_check import deep_check
from producer.findings import FindingKind
from producer.rescore import RescoreFailed
from producer.verify import verify
from schemas import layout
from schemas.errors import ConfigurationError, ExitCode
from schemas.finalize import finalize
from schemas.job import Manifest
from schemas.manifest import read_chunks, read_manifest
from schemas.model_files import pin_model
from schemas.results import read_account
from schemas.storage import Storage
from schemas.survey import survey
from support import corpora
from support.models import tiny_model
from support.processes import run_cli
from support.scoring import plan_job, score_all
from support.stored_jobs import result_bytes
from support.texts import ordinary_texts
from worker.model_store import ModelStore
from worker.models import load_model

pytestmark = pytest.mark.integration

ROWS_PER_FILE = 40
TEXTS = [*ordinary_texts(ROWS_PER_FILE - 4), None, "", " \t", "a long text " * 400]


class Scored:
    """A job whose corpus of two files was scored in batches; all chunks have their result."""

    def __init__(self, output: Path) -> None:
        self.storage = Storage()
        self.output = str(output)
        self.manifest: Manifest = read_manifest(self.storage, self.output)

    def change(self, chunk: int, column: str, *values: Any) -> None:
        """Write a result anew, sound in itself, with other values in its first rows."""
        path = Path(layout.result(self.output, chunk))
        account = read_account(self.storage, str(path))
        table = pq.read_table(path)
        field = table.schema.field(column)
        changed = [*values, *table[column].to_pylist()[len(values) :]]
        place = table.column_names.index(column)
        table = table.set_column(place, field, pa.array(changed, field.type))
        path.write_bytes(result_bytes(table, account))


def score_corpus(folder: Path, model: Path, **spec: Any) -> Path:
    """Write a corpus, score it and return the output."""
    storage = Storage()
    for number in range(2):
        table = corpora.make_table(TEXTS, first_id=number * ROWS_PER_FILE)
        corpora.write_table(folder / "corpus" / f"{number}.parquet", table, row_group_rows=10)
    pinned = pin_model(storage, str(model))
    loaded = load_model(
        ModelStore(storage, folder / "cache"),
        pinned,
        max_length=spec.get("max_length"),
        device="cpu",
        threads=1,
    )
    manifest = plan_job(storage, folder / "corpus", folder / "scored", loaded, **spec)
    score_all(storage, manifest, loaded)
    finalize(storage, manifest, survey(storage, manifest))
    return folder / "scored"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a job that nobody changes."""
    folder = tmp_path_factory.mktemp("sound")
    return score_corpus(folder, tiny_model(folder / "sentiment"), chunk_rows=10)


@pytest.fixture
def scored(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scored:
    """A copy of that output, which the test may change."""
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(sound.parent / "cache"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    return Scored(Path(shutil.copytree(sound, tmp_path / "scored")))


def test_a_sound_result_is_what_the_model_gives_row_by_row(scored: Scored) -> None:
    told: list[tuple[int, int]] = []

    deep = deep_check(
        scored.storage, scored.output, rows=1_000, progress=lambda *numbers: told.append(numbers)
    )
    report = verify(scored.storage, scored.output, deep=deep)

    assert (deep.findings, deep.problems) == ([], {})
    assert deep.rows == scored.manifest.rows
    assert told[-1] == (deep.rows, deep.rows)
    assert (report.complete, report.rows_rescored) == (True, deep.rows)
    assert len(report.errors) > 1  # rows with an error were among them


def test_labels_and_scores_that_the_model_does_not_give_are_named_by_chunk_and_row(
    scored: Scored,
) -> None:
    first = read_chunks(scored.storage, scored.manifest)[1].row_start
    label = pq.read_table(layout.result(scored.output, 1))["label"][0].as_py()
    other = "negative" if label == "positive" else "positive"
    scored.change(1, "label", other)
    scored.change(0, "score", 0.123, 0.124, 0.125, 0.126)

    deep = deep_check(scored.storage, scored.output, rows=1_000)
    report = verify(scored.storage, scored.output, deep=deep)

    found = {f.chunk: f for f in report.findings if f.kind is FindingKind.RESCORED}
    assert {chunk: finding.count for chunk, finding in found.items()} == {1: 1, 0: 4}
    assert f"row {first}: {other} " in found[1].message
    assert f"instead of {label} " in found[1].message
    assert "row 0: " in found[0].message
    assert "and 1 more" in found[0].message
    words = [word for word in ordinary_texts(1)[0].split() if len(word) > 5]
    assert words
    assert not any(word in found[0].message for word in words)
    # The recount sees that the bytes are others, but not that the scores are wrong.
    assert set(report.counts) == {FindingKind.RESCORED, FindingKind.RESULT_CHANGED}


def test_a_corpus_that_changed_is_a_finding_and_the_other_file_is_still_compared(
    sound: Path, scored: Scored, tmp_path: Path
) -> None:
    first = sound.parent / "corpus" / "0.parquet"
    first.rename(tmp_path / "aside")
    try:
        corpora.write_corpus(first, rows=30)
        deep = deep_check(scored.storage, scored.output, rows=1_000)
        report = verify(scored.storage, scored.output, deep=deep)
    finally:
        (tmp_path / "aside").replace(first)

    assert list(deep.problems) == [str(first)]
    assert report.counts == {FindingKind.CORPUS: 1}
    assert "changed since the job was planned" in report.findings[0].message
    assert report.rows_rescored == scored.manifest.rows // 2


def test_a_model_that_is_not_the_pinned_one_any_more_is_refused(
    sound: Path, tmp_path: Path, scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "another-cache"))
    model = sound.parent / "sentiment"
    model.rename(tmp_path / "aside")
    try:
        with pytest.raises(RescoreFailed, match="changed since the job was submitted") as failed:
            deep_check(scored.storage, scored.output, rows=4)
    finally:
        (tmp_path / "aside").rename(model)

    assert failed.value.exit_code == ExitCode.USAGE


def test_without_the_worker_extra_it_says_what_to_install(
    scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _module: None)

    with pytest.raises(ConfigurationError, match=r"pip install 'bulkscore\[worker\]'"):
        deep_check(scored.storage, scored.output, rows=4)


def test_a_job_without_a_result_has_nothing_to_score_again(scored: Scored) -> None:
    for chunk in range(scored.manifest.chunks):
        Path(layout.result(scored.output, chunk)).unlink()

    assert deep_check(scored.storage, scored.output, rows=4).rows == 0


@pytest.mark.slow
def test_the_values_of_a_regression_are_compared_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    model = tiny_model(tmp_path / "model", labels=("value",), problem_type="regression")
    job = Scored(score_corpus(tmp_path, model, all_scores=True))
    sound = deep_check(job.storage, job.output, rows=30)
    job.change(0, "score", 0.123, 0.124)

    changed = deep_check(job.storage, job.output, rows=1_000)

    assert (sound.rows, sound.findings) == (30, [])
    assert [(f.kind, f.chunk, f.count) for f in changed.findings] == [(FindingKind.RESCORED, 0, 2)]


@pytest.mark.parametrize(
    "long_text", ["windows", pytest.param("windows-max", marks=pytest.mark.slow)]
)
def test_texts_that_were_scored_in_windows_are_scored_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_text: str
) -> None:
    monkeypatch.setenv("BULKSCORE_MODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("BULKSCORE_TORCH_THREADS", "1")
    model = tiny_model(tmp_path / "model")
    job = Scored(score_corpus(tmp_path, model, long_text=long_text, max_length=16))

    deep = deep_check(job.storage, job.output, rows=1_000)
    report = verify(job.storage, job.output, deep=deep)

    assert (deep.rows, deep.findings) == (job.manifest.rows, [])
    assert not report.findings
    lengths = pq.read_table(layout.result(job.output, 0))["n_tokens"].to_pylist()
    assert max(lengths) > 1_000  # the long one, in windows of 16


@pytest.mark.slow
def test_the_command_needs_no_broker_and_says_how_many_rows_were_scored_again(
    sound: Path, scored: Scored
) -> None:
    env = {
        "BULKSCORE_REDIS_URL": "redis://127.0.0.1:1/0",
        "BULKSCORE_MODEL_CACHE_DIR": str(sound.parent / "cache"),
        "BULKSCORE_TORCH_THREADS": "1",
    }

    fine = run_cli("verify", scored.output, "--deep", "--sample", "12", env=env)
    scored.change(0, "score", 0.123)
    wrong = run_cli("verify", scored.output, "--deep", "--json", env=env)
    alone = run_cli("verify", scored.output, "--sample", "12", env=env)

    assert fine.exit_code == 0, fine
    assert re.search(r"rows scored again  1[0-2]\n", fine.stdout), fine
    assert wrong.exit_code == 1, wrong
    assert wrong.json()["counts"] == {"rescored": 1, "result_changed": 1}
    assert alone.exit_code == 2, alone
    assert "add --deep" in alone.stderr, alone
