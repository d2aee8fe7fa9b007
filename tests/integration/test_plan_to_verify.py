"""What the worker writes of a planned corpus is what verification expects of it."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from producer.findings import FindingKind
from producer.manifest import create_job
from producer.verify import verify
from schemas.errors import InputCorrupt
from schemas.job import JobSpec, Manifest, ProblemType
from schemas.manifest import read_chunks
from schemas.model_files import pin_model
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.models import tiny_model
from support.s3 import S3Bucket
from support.texts import awkward_texts, ordinary_texts
from worker.chunk import score_chunk
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model

pytestmark = pytest.mark.integration

IDS = {
    "number": pa.array(range(60), pa.int64()),
    "name": pa.array([f"n{n // 2}" for n in range(60)]),
    "ratio": pa.array([float("nan"), None, 0.5] * 20),
    "price": pa.array([Decimal("1.25"), None, Decimal("-3.00")] * 20),
    "day": pa.array([date(2026, 1, 1 + n % 28) for n in range(60)]),
    "at": pa.array([n * 1_000 for n in range(60)], pa.timestamp("ns", "UTC")),
    "kind": pa.array(["a", None, "b"] * 20).dictionary_encode(),
    "tags": pa.array([["x"], [], None] * 20),
    "author": pa.array([{"name": "n", "age": n} for n in range(60)]),
    "raw": pa.array([b"\xff", b"", None] * 20),
    "nothing": pa.nulls(60),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(folder, tmp_path_factory.mktemp("cache"))


def load(folder: Path, cache: Path) -> LoadedModel:
    storage = Storage()
    return load_model(ModelStore(storage, cache), pin_model(storage, str(folder)), device="cpu")


def score(storage: Storage, manifest: Manifest, model: LoadedModel) -> list[int]:
    """Score every chunk in this process, and return those that cannot be read."""
    unreadable = []
    chunks = read_chunks(storage, manifest)
    for number in range(len(chunks)):
        try:
            score_chunk(
                storage=storage,
                manifest=manifest,
                chunk=chunks[number],
                models=(model,),
                attempt=1,
                generation=0,
                worker="test",
                progress=lambda _tokens: None,
            )
        except InputCorrupt:
            unreadable.append(number)
    return unreadable


def test_ids_of_every_type_come_back_as_they_were(tmp_path: Path, model: LoadedModel) -> None:
    storage = Storage()
    table = pa.table({**IDS, "text": ordinary_texts(60)})
    corpora.write_table(tmp_path / "corpus.parquet", table, row_group_rows=25)
    spec = JobSpec(
        inputs=(str(tmp_path / "corpus.parquet"),),
        output=str(tmp_path / "scored"),
        model="m",
        text_column="text",
        id_columns=tuple(IDS),
        chunk_rows=10,
        all_scores=True,
    )

    manifest = create_job(storage, spec, model.pin)
    score(storage, manifest, model)
    report = verify(storage, spec.output)

    assert report.findings == ()
    assert (report.complete, report.rows_scored) == (True, 60)


def test_awkward_corpora_are_accounted_for_row_by_row(tmp_path: Path, model: LoadedModel) -> None:
    storage, corpus = Storage(), tmp_path / "corpus"
    for number, text_type in enumerate(corpora.TEXT_TYPES):
        corpora.write_awkward_texts(corpus / f"{number}.parquet", text_type=text_type)
    corpora.write_empty_row_groups(corpus / "gaps.parquet")
    corpora.write_no_rows(corpus / "none.parquet")
    corpora.write_one_row_row_groups(corpus / "ones.parquet")
    corpora.write_duplicate_ids(corpus / "twice.parquet")
    corpora.write_invalid_utf8(corpus / "bytes.parquet")
    spec = JobSpec(
        inputs=(str(corpus),),
        output=str(tmp_path / "scored"),
        model="m",
        text_column="text",
        id_columns=("id",),
        chunk_rows=20,
    )

    manifest = create_job(storage, spec, model.pin)
    score(storage, manifest, model)
    report = verify(storage, spec.output)

    assert report.findings == ()
    assert report.complete
    assert report.rows_scored + report.rows_error == manifest.rows
    assert report.rows > 5 * len(awkward_texts()) + 50 + 25 + 60
    assert {"text_null", "text_blank", "text_invalid_utf8"} <= set(report.errors)


@pytest.mark.parametrize("problem_type", ["regression", "multi_label_classification"])
def test_scores_of_other_problem_types_are_sound(tmp_path: Path, problem_type: ProblemType) -> None:
    labels = ("value",) if problem_type == "regression" else ("a", "b", "c")
    other = load(
        tiny_model(tmp_path / "model", labels=labels, problem_type=problem_type), tmp_path / "cache"
    )
    corpora.write_corpus(tmp_path / "corpus.parquet")
    spec = JobSpec(
        inputs=(str(tmp_path / "corpus.parquet"),),
        output=str(tmp_path / "scored"),
        model="m",
        text_column="text",
        all_scores=True,
    )

    manifest = create_job(Storage(), spec, other.pin)
    score(Storage(), manifest, other)
    report = verify(Storage(), spec.output)

    assert report.findings == ()
    assert (report.complete, report.rows_scored) == (True, 100)


def test_a_result_on_s3_is_recounted_like_one_on_disk(
    each_s3_bucket: S3Bucket,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: LoadedModel,
) -> None:
    for name, value in each_s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    filesystem = each_s3_bucket.filesystem()
    corpora.write_many_files(tmp_path, files=3)
    bad_corpora.write_damaged_row_group(tmp_path / "damaged.parquet")
    for path in tmp_path.rglob("*.parquet"):
        filesystem.pipe_file(f"{each_s3_bucket.name}/corpus/{path.name}", path.read_bytes())
    spec = JobSpec(
        inputs=(each_s3_bucket.key_uri("corpus"),),
        output=each_s3_bucket.key_uri("scored"),
        model="m",
        text_column="text",
        id_columns=("id",),
        chunk_rows=20,
    )

    storage = Storage()
    manifest = create_job(storage, spec, model.pin)
    unreadable = score(storage, manifest, model)
    before = verify(storage, spec.output)
    filesystem.pipe_file(f"{each_s3_bucket.name}/scored/part-000999.parquet", b"x")
    filesystem.pipe_file(f"{each_s3_bucket.name}/corpus/0000.parquet", b"other")
    after = verify(storage, spec.output)

    assert (before.findings, before.missing_chunks) == ((), tuple(unreadable))
    assert before.rows_scored + before.rows_error + before.rows_missing == manifest.rows == 270
    assert set(after.counts) == {FindingKind.FOREIGN_OBJECT, FindingKind.CORPUS}
