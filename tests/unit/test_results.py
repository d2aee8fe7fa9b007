"""A result object carries its account in its footer, and its ids as they came."""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import InputCorrupt, InputMissing
from schemas.results import (
    MODEL_COLUMNS,
    RESERVED_COLUMNS,
    ResultAccount,
    parse_footer,
    read_account,
    read_footer,
    result_schema,
    split_result,
)
from schemas.storage import Storage
from support import corpora
from support.stored_jobs import result_bytes

ACCOUNT = ResultAccount(
    job_id="j",
    chunk=3,
    generation=1,
    attempt=2,
    model="sst2@4",
    model_digest="abc",
    rows=10,
    rows_scored=8,
    errors={"text_null": 2},
    tokens=120,
    truncated_rows=1,
    seconds=0.25,
    worker="w1",
    device="cpu",
    dtype="fp32",
    libraries={"torch": "2.13"},
)


TABLE = pa.table({"source_row": pa.array(range(10), pa.int64())})
CONTENT = result_bytes(TABLE, ACCOUNT)


def stored(folder: Path, content: bytes) -> str:
    path = folder / "part-000003.parquet"
    path.write_bytes(content)
    return str(path)


def test_the_account_is_read_back_from_the_footer_of_a_result(tmp_path: Path) -> None:
    assert read_account(Storage(), stored(tmp_path, CONTENT)) == ACCOUNT


def test_a_footer_carries_the_sum_of_the_data_and_has_one_of_its_own(tmp_path: Path) -> None:
    data, tail = split_result(CONTENT, "/x")

    footer = read_footer(Storage(), stored(tmp_path, CONTENT))

    assert bytes(data) + tail == CONTENT
    assert footer.data_sha256 == sha256(data).hexdigest()
    assert footer.sha256 == sha256(tail).digest()
    assert footer == parse_footer(tail, "/x")


def test_a_footer_longer_than_what_is_read_at_first_is_read_whole(tmp_path: Path) -> None:
    wide = pa.table({f"column_{n}": [n] for n in range(2_000)})
    content = result_bytes(wide, ACCOUNT)
    _, tail = split_result(content, "/x")

    assert len(tail) > 100_000
    assert read_footer(Storage(), stored(tmp_path, content)) == parse_footer(tail, "/x")


def test_a_stranger_s_file_is_no_result(tmp_path: Path) -> None:
    path = corpora.write_table(tmp_path / "x.parquet", TABLE, row_group_rows=10)

    with pytest.raises(InputCorrupt, match=r"x\.parquet is not a result of bulkscore"):
        read_footer(Storage(), str(path))


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"not Parquet at all", CONTENT[:-1], b"\0" + CONTENT[-8:]]
)
def test_a_file_without_its_end_is_corrupt_and_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputCorrupt, match=r"part-000003\.parquet is not Parquet, or its end"):
        read_footer(Storage(), stored(tmp_path, content))


def test_a_damaged_account_is_corrupt_and_the_file_named(tmp_path: Path) -> None:
    content = CONTENT.replace(b'"version":1', b'"version":2')

    with pytest.raises(InputCorrupt, match=r"footer of .*part-000003\.parquet is damaged"):
        read_footer(Storage(), stored(tmp_path, content))


def test_a_result_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        read_account(Storage(), str(tmp_path / "part-000001.parquet"))


def test_ids_come_first_and_keep_their_types() -> None:
    ids = [pa.field("id", pa.uint64()), pa.field("key", pa.struct([("a", pa.string())]))]

    schema = result_schema(ids, all_scores=True)

    assert [schema.field(i) for i in range(2)] == ids
    assert tuple(schema.names[2:]) == RESERVED_COLUMNS


def test_scores_of_all_labels_are_there_only_when_asked_for() -> None:
    assert "scores" not in result_schema([], all_scores=False).names
    assert "scores" in result_schema([], all_scores=True).names


def test_each_of_several_models_has_its_columns_and_the_row_an_error_of_its_own() -> None:
    schema = result_schema([], all_scores=True, suffixes=("_old", "_new"))

    alone = result_schema([], all_scores=True)
    for suffix in ("_old", "_new"):
        for name in MODEL_COLUMNS:
            assert schema.field(name + suffix) == alone.field(name).with_name(name + suffix)
    assert schema.names[:2] == alone.names[:2]
    assert schema.names[-1] == "error"
    assert len(schema) == 2 + 2 * len(MODEL_COLUMNS) + 1
