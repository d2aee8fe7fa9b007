"""A result object carries its account in its footer, and its ids as they came."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputCorrupt, InputMissing
from schemas.results import (
    RESERVED_COLUMNS,
    ResultAccount,
    account_metadata,
    parse_account,
    read_account,
    result_schema,
)
from schemas.storage import Storage

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


def test_the_account_is_read_back_from_the_footer_of_a_result(tmp_path: Path) -> None:
    path = tmp_path / "part-000003.parquet"
    schema = result_schema([], all_scores=False).with_metadata(account_metadata(ACCOUNT))
    pq.write_table(schema.empty_table(), path)

    assert read_account(Storage(), str(path)) == ACCOUNT


@pytest.mark.parametrize("metadata", [None, {}, {b"pandas": b"{}"}])
def test_a_stranger_s_file_is_no_result(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(InputCorrupt, match="/x is not a result of bulkscore"):
        parse_account(metadata, "/x")


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"version":2}', b"\xff"])
def test_a_damaged_account_is_corrupt_and_the_file_named(body: bytes) -> None:
    with pytest.raises(InputCorrupt, match="footer of /x is damaged"):
        parse_account({b"bulkscore": body}, "/x")


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
