"""Labelled texts are read from every kind of file, and what is wrong is named by its place."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.errors import BulkError, InputCorrupt, InputMissing, SchemaMismatch, UsageError
from schemas.labelled import LabelledColumns, LabelledTexts, read_labelled
from schemas.storage import Storage
from support.data import require_data
from support.s3 import S3Bucket


def read(path: Path, **columns: Any) -> LabelledTexts:
    return read_labelled(Storage(), [str(path)], LabelledColumns(**columns))


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_labelled_texts_are_read_from_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({"text": ['he said "no",\nthen left', "fine"], "label": [1, 0]})
    path = tmp_path / f"data.{suffix}"
    match suffix:
        case "csv":
            table.write_csv(path, include_header=False, quote_style="non_numeric")
        case "parquet":
            table.write_parquet(path)
        case _:
            table.write_ndjson(path)

    found = read(path)

    assert found.texts == ['he said "no",\nthen left', "fine"]
    assert found.labels == ["1", "0"]


@pytest.mark.parametrize(
    ("content", "columns", "labels"),
    [
        (b"x,1\ny,0\n", {}, ["1", "0"]),
        (b"text,label\nx,1\ny,0\n", {}, ["1", "0"]),
        (b"\xef\xbb\xbflabel,id,text\r\n1,7,x\r\n0,8,y\r\n", {}, ["1", "0"]),
        (b"sentence,mood\nx,1\ny,0\n", {"text": "sentence", "label": "mood"}, ["1", "0"]),
        (b"x,good\ny,bad\nz,good\n", {}, ["good", "bad", "good"]),
        (b"x,good\ny,bad\n", {"header": False}, ["good", "bad"]),
        (b"text,label\ny,bad\n", {"header": False}, ["label", "bad"]),
    ],
)
def test_a_csv_has_a_header_if_its_first_line_names_both_columns(
    tmp_path: Path, content: bytes, columns: dict[str, Any], labels: list[str]
) -> None:
    assert read(written(tmp_path, "data.csv", content), **columns).labels == labels


@pytest.mark.parametrize(
    ("content", "columns", "told"),
    [
        (b"sentence,mood\nx,1\ny,0\n", {}, "'mood', is that of no other row.*--text-column"),
        (b"id,sentence,mood\n1,x,1\n", {}, "does not name 'text' and 'label'"),
        (b"x,1\ny,0\n", {"label": "mood"}, "does not name 'text' and 'mood'"),
        (b"text,label,label\nx,1,1\n", {}, "2 columns named 'label'"),
    ],
)
def test_a_header_that_is_not_known_is_asked_about_and_never_guessed(
    tmp_path: Path, content: bytes, columns: dict[str, Any], told: str
) -> None:
    with pytest.raises(SchemaMismatch, match=told):
        read(written(tmp_path, "data.csv", content), **columns)


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("absent.csv", None, InputMissing, "does not exist|No such"),
        ("a.xlsx", b"", UsageError, "give a .csv"),
        ("a.parquet", b"not parquet", InputCorrupt, "Parquet"),
        ("a.csv", b"", InputCorrupt, "empty"),
        ("a.csv", b'x,1\n"SECRET', InputCorrupt, "line 2"),
        ("a.csv", b"x,1\nSECRET,2,3\n", InputCorrupt, "line 2"),
        ("a.csv", b'x,1\n"two\nlines",2\nSECRET\xff,3\n', InputCorrupt, "line 4, is not UTF-8"),
        ("a.csv", b"x,1\n\nSECRET\n", SchemaMismatch, "row 2: nothing in column 'label'"),
        ("a.csv", b"text,label\n", SchemaMismatch, "no rows"),
        ("a.jsonl", b'{"text": "x", "label": 1}\n{"text": "SECRET\n', InputCorrupt, "line 2"),
        ("a.jsonl", b'{"text": "SECRET", "kind": 1}\n', SchemaMismatch, "no column 'label'"),
        ("a.jsonl", b'{"text": null, "label": 1}\n', SchemaMismatch, "row 0: nothing in .*'text'"),
        ("a.jsonl", b'{"text": 12345, "label": 1}\n', SchemaMismatch, "'text' is Int64, not text"),
        ("a.jsonl", b'{"text": "SECRET", "label": 1.5}\n', SchemaMismatch, "--problem regression"),
        ("a.jsonl", b'{"text": "SECRET", "label": [1]}\n', SchemaMismatch, "--problem multi-label"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_without_a_text(
    tmp_path: Path, name: str, content: bytes | None, error: type[BulkError], told: str
) -> None:
    path = tmp_path / name if content is None else written(tmp_path, name, content)

    with pytest.raises(error, match=told) as raised:
        read(path)

    assert name in str(raised.value)
    assert "SECRET" not in str(raised.value)


def test_strings_that_are_not_utf8_are_a_damaged_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    pq.write_table(pa.table({"text": bad, "label": [1]}), tmp_path / "a.parquet")

    with pytest.raises(InputCorrupt, match=r"a\.parquet"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,label\nx,a | b|a\ny,\n"),
        ("a.jsonl", b'{"text":"x","label":["a","b"]}\n{"text":"y","label":[]}\n'),
    ],
)
def test_several_labels_stand_in_a_list_or_between_separators(
    tmp_path: Path, name: str, content: bytes
) -> None:
    found = read(written(tmp_path, name, content), problem="multi-label")

    assert found.labels == [["a", "b"], []]
    assert found.single_labels == ["a", "b"]


def test_values_of_a_regression_are_finite_numbers(tmp_path: Path) -> None:
    good = written(tmp_path, "good.csv", b"x,1.5\ny,-2\n")
    bad = written(tmp_path, "bad.csv", b"x,1.5\ny,high\nz,inf\n")

    assert read(good, problem="regression").labels == [1.5, -2.0]
    with pytest.raises(SchemaMismatch, match=r"bad\.csv, row 1: .*finite.* 1 more"):
        read(bad, problem="regression")


def test_a_folder_gives_all_its_files_and_each_row_its_place(tmp_path: Path) -> None:
    written(tmp_path, "b.jsonl", b'{"text":"z","label":1,"day":"2025-01-03"}\n')
    written(tmp_path, "a.csv", b"text,label,day\nx,1,2025-01-01\ny,0,2025-01-02\n")
    written(tmp_path, "notes.txt", b"not data")
    written(tmp_path, "_hidden.csv", b"q,5\n")

    found = read(tmp_path, others=("day",))

    assert found.texts == ["x", "y", "z"]
    assert found.rows["day"].to_list() == ["2025-01-01", "2025-01-02", "2025-01-03"]
    assert found.place(1) == f"{tmp_path}/a.csv, row 1"
    assert found.place(2) == f"{tmp_path}/b.jsonl, row 0"


@pytest.mark.integration
def test_labelled_texts_are_read_from_s3(
    s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)
    storage = Storage()
    storage.create(s3_bucket.key_uri("data/a.csv"), b"x,1\ny,0\n")
    storage.create(s3_bucket.key_uri("data/b.jsonl"), b'{"text":"z","label":1}\n')

    found = read_labelled(storage, [s3_bucket.key_uri("data")])

    assert found.texts == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("name", "rows", "labels"),
    [
        ("sst2/train.csv", 60_315, 2),
        ("ag_news/test.csv", 2_000, 4),
        ("chnsenticorp/test.csv", 1_000, 2),
    ],
)
def test_public_sets_are_read_whole(name: str, rows: int, labels: int) -> None:
    found = read(require_data(name))

    assert len(found.texts) == rows
    assert set(found.labels) == {str(i) for i in range(labels)}
