"""A chunk goes from S3 through a real model and back: rows, scores and account."""

import math
from pathlib import Path

import numpy as np
import pytest

from schemas import layout
from schemas.errors import InputChanged, InputCorrupt, InputMissing
from schemas.job import Manifest
from schemas.model_files import pin_model
from schemas.results import read_account
from schemas.settings import StorageSettings
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.models import ProblemType, reference_logits, tiny_model
from support.s3 import S3Bucket
from support.scoring import plan_job, result_of, score, score_all, threads_beside
from support.texts import awkward_texts, invalid_utf8, ordinary_texts
from support.word_models import word_model
from worker.model_store import ModelStore
from worker.models import LoadedModel, load_model
from worker.scores import probabilities

pytestmark = pytest.mark.integration

TOLERANCE = 1e-4
ROWS = 60
PROBLEMS: dict[ProblemType, tuple[str, ...]] = {
    "single_label_classification": ("bad", "so-so", "good"),
    "multi_label_classification": ("rude", "long", "funny"),
    "regression": ("stars",),
}


@pytest.fixture(scope="module", params=list(PROBLEMS))
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ProblemType, Path]:
    """A tiny model of each kind."""
    kind: ProblemType = request.param
    place = tmp_path_factory.mktemp("model") / "tiny"
    return kind, tiny_model(place, labels=PROBLEMS[kind], problem_type=kind)


@pytest.fixture
def storage(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The door to this test's bucket."""
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    return Storage(StorageSettings())


def load(folder: Path, cache: Path, max_length: int | None = None) -> LoadedModel:
    local = Storage()
    return load_model(
        ModelStore(local, cache),
        pin_model(local, str(folder)),
        max_length=max_length,
        device="cpu",
        threads=1,
    )


def upload(storage: Storage, path: Path, uri: str) -> str:
    assert storage.create(uri, path.read_bytes())
    return uri


def mixed_texts() -> list[str | None]:
    texts: list[str | None] = [*ordinary_texts(ROWS, longest=12)]
    texts[7], texts[20], texts[41] = None, "", " \n"
    texts[30] = "very long " * 500
    return texts


def test_every_row_has_the_scores_it_gets_alone_whatever_the_kind_of_model(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage, folder: tuple[ProblemType, Path]
) -> None:
    kind, place = folder
    texts = mixed_texts()
    table = corpora.make_table(texts, text_type="dictionary")
    path = corpora.write_table(tmp_path / "a.parquet", table, row_group_rows=25)
    corpus = upload(storage, path, s3_bucket.key_uri("corpus/a.parquet"))
    model = load(place, tmp_path / "cache")
    manifest = plan_job(
        storage, corpus, s3_bucket.key_uri("scored"), model, chunk_rows=40, all_scores=True
    )

    accounts = score_all(storage, manifest, model)

    rows = result_of(storage, manifest).to_pylist()
    scored = [n for n, text in enumerate(texts) if text and text.strip()]
    alone = np.array(reference_logits(place, [texts[n] or "" for n in scored]), np.float32)
    assert manifest.chunks > 1
    assert [row["id"] for row in rows] == [f"doc-{n:06}" for n in range(ROWS)]
    assert [n for n, row in enumerate(rows) if row["error"] is None] == scored
    for n, expected in zip(scored, probabilities(alone, kind), strict=True):
        assert rows[n]["scores"] == pytest.approx(list(expected), abs=TOLERANCE)
        assert rows[n]["score"] == max(rows[n]["scores"])
        best = rows[n]["scores"].index(max(rows[n]["scores"]))
        assert rows[n]["label"] == (None if kind == "regression" else PROBLEMS[kind][best])
    assert sum(account.rows_scored for account in accounts) == len(scored)
    assert sum(account.truncated_rows for account in accounts) == 1
    assert {account.model_digest for account in accounts} == {model.pin.digest}
    for chunk, account in enumerate(accounts):
        assert read_account(storage, layout.result(manifest.spec.output, chunk)) == account


def test_awkward_texts_get_their_code_or_a_score_from_a_real_tokenizer(
    tmp_path: Path, folder: tuple[ProblemType, Path]
) -> None:
    storage, (_, place) = Storage(), folder
    corpora.write_awkward_texts(tmp_path / "corpus" / "a.parquet")
    corpora.write_invalid_utf8(tmp_path / "corpus" / "b.parquet")
    model = load(place, tmp_path / "cache")
    manifest = plan_job(storage, tmp_path / "corpus", tmp_path / "scored", model)

    score_all(storage, manifest, model)

    rows = {row["id"]: row for row in result_of(storage, manifest).to_pylist()}
    blank = {name: "text_blank" for name in ("empty", "spaces", "white_space")}
    invalid = {name: "text_invalid_utf8" for name in invalid_utf8()}
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert len(rows) == len(awkward_texts()) + 2 * len(invalid_utf8())
    assert errors == {"null": "text_null", **blank, **invalid}
    assert all(math.isfinite(row["score"]) for row in rows.values() if not row["error"])
    assert rows["million_characters"]["truncated"]


def test_a_long_text_in_windows_gets_the_mean_of_what_its_windows_get_alone(
    tmp_path: Path, folder: tuple[ProblemType, Path]
) -> None:
    storage, (problem_type, place) = Storage(), folder
    long, short = " ".join([*ordinary_texts(20), *"🦖🦕🦖🦕"]), "a fine film"
    path = corpora.write_table(
        tmp_path / "a.parquet", corpora.make_table([short, long, None, long])
    )
    model = load(place, tmp_path / "cache", max_length=24)
    manifest = plan_job(
        storage,
        path,
        tmp_path / "scored",
        model,
        long_text="windows",
        max_length=24,
        all_scores=True,
    )

    account = score(storage, manifest, model)

    rows = result_of(storage, manifest).to_pylist()
    ids = model.tokenizer.encode([long], "windows").ids
    alone = np.concatenate([model.engine.forward([row]) for row in ids])
    expected = probabilities(alone, problem_type).mean(axis=0)
    assert len(ids) > 5
    np.testing.assert_allclose(rows[1]["scores"], expected, atol=TOLERANCE)
    assert rows[1]["scores"] == rows[3]["scores"]
    assert rows[1]["n_tokens"] == sum(map(len, ids))
    assert [row["truncated"] for row in rows] == [False] * 4
    assert [row["error"] for row in rows] == [None, None, "text_null", None]
    assert account is not None
    assert account.tokens == sum(row["n_tokens"] for row in rows)
    unknown = sum(np.count_nonzero(row == model.tokenizer.unknown_id) for row in ids)
    short_ids = model.tokenizer.encode([short]).ids[0]
    unknown_in_short = np.count_nonzero(short_ids == model.tokenizer.unknown_id)
    assert unknown >= 4
    assert account.unknown_tokens == 2 * unknown + unknown_in_short


def test_a_second_attempt_on_s3_returns_nothing_and_leaves_the_object_as_it_is(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage
) -> None:
    manifest, _ = words_job(tmp_path, s3_bucket, storage)
    result = layout.result(manifest.spec.output, 0)
    assert score(storage, manifest, word_model()) is not None
    before = storage.stat(result), storage.read(result)

    again = score(storage, manifest, word_model(), attempt=2)

    assert again is None
    assert (storage.stat(result), storage.read(result)) == before


def test_an_object_replaced_since_the_plan_is_refused_and_nothing_written(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage
) -> None:
    manifest, corpus = words_job(tmp_path, s3_bucket, storage)
    other = corpora.write_corpus(tmp_path / "b.parquet", seed=9)
    storage.replace(corpus, other.read_bytes())

    with pytest.raises(InputChanged, match=r"a\.parquet changed since the job was planned"):
        score(storage, manifest, word_model())

    assert_no_result(storage, s3_bucket)


def test_an_object_removed_since_the_plan_is_missing_and_nothing_written(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage
) -> None:
    manifest, corpus = words_job(tmp_path, s3_bucket, storage)
    storage.delete(corpus)

    with pytest.raises(InputMissing, match=r"a\.parquet"):
        score(storage, manifest, word_model())

    assert_no_result(storage, s3_bucket)


@pytest.mark.parametrize("damage", ["checksum", "codec"])
def test_a_damaged_page_on_s3_names_its_row_group_and_nothing_is_written(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage, damage: bad_corpora.Damage
) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "a.parquet", damage=damage)
    corpus = upload(storage, path, s3_bucket.key_uri("a.parquet"))
    manifest = plan_job(storage, corpus, s3_bucket.key_uri("scored"), word_model())

    with pytest.raises(InputCorrupt, match=r"a\.parquet, row group 1,") as raised:
        score(storage, manifest, word_model())

    assert raised.value.row_group == 1
    assert_no_result(storage, s3_bucket)


def test_a_chunk_that_breaks_off_creates_no_object_and_leaves_no_thread(
    tmp_path: Path, s3_bucket: S3Bucket, storage: Storage
) -> None:
    manifest, _ = words_job(tmp_path, s3_bucket, storage)

    def no_device(_batch: int) -> None:
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="device"):
        score(storage, manifest, word_model(before_batch=no_device))

    assert_no_result(storage, s3_bucket)


def words_job(tmp_path: Path, bucket: S3Bucket, storage: Storage) -> tuple[Manifest, str]:
    """Plan a job of one chunk on S3 and return its manifest and its corpus."""
    path = corpora.write_corpus(tmp_path / "a.parquet")
    corpus = upload(storage, path, bucket.key_uri("corpus/a.parquet"))
    manifest = plan_job(storage, corpus, bucket.key_uri("scored"), word_model())
    assert manifest.chunks == 1
    return manifest, corpus


def assert_no_result(storage: Storage, bucket: S3Bucket) -> None:
    found = [item.uri for item in storage.list_objects(bucket.key_uri("scored"), recursive=True)]
    assert [uri for uri in found if "/_bulkscore/" not in uri] == []
    assert threads_beside() == []
