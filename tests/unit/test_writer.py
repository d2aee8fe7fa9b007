"""A result is created once and whole, with its account; nothing of a failed one stays behind."""

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import StorageUnavailable
from schemas.results import (
    RESULT_ROW_GROUP_ROWS,
    ResultAccount,
    read_account,
    read_footer,
    split_result,
)
from schemas.storage import Storage
from support.files import limited_to, open_under
from support.stored_jobs import account_of
from worker.writer import ROW_GROUP_BYTES, ResultWriter


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder in which temporary files of this test come and go."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def account(rows: int, **changes: Any) -> ResultAccount:
    return account_of(3, rows=rows, rows_scored=rows, **changes)


def table_of(rows: int, first: int = 0) -> pa.Table:
    return pa.table({"source_row": pa.array(range(first, first + rows), pa.int64())})


def write(path: Path, tables: list[pa.Table], expected: ResultAccount) -> bool:
    with ResultWriter() as writer:
        for table in tables:
            writer.write(table)
        return writer.publish(Storage(), str(path), expected)


def write_and_break_off(table: pa.Table, error: BaseException) -> None:
    with ResultWriter() as writer:
        writer.write(table)
        raise error


def test_rows_written_in_several_goes_come_out_in_order_with_the_account(
    tmp_path: Path, scratch: Path
) -> None:
    uri = str(tmp_path / "scored" / "part-000003.parquet")

    created = write(Path(uri), [table_of(100, n) for n in range(0, 1_000, 100)], account(1_000))

    assert created
    assert pq.read_table(uri)["source_row"].to_pylist() == list(range(1_000))
    assert read_account(Storage(), uri) == account(1_000)
    assert [path.name for path in Path(uri).parent.iterdir()] == ["part-000003.parquet"]
    assert list(scratch.iterdir()) == []


def test_the_footer_carries_the_sum_of_every_byte_before_it(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"

    write(path, [table_of(50_000, n) for n in range(4)], account(200_000))

    data, _ = split_result(path.read_bytes(), str(path))
    assert pq.read_metadata(path).num_row_groups > 1
    assert read_footer(Storage(), str(path)).data_sha256 == sha256(data).hexdigest()


def test_pages_carry_checksums_so_that_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    noise = np.random.default_rng(0).integers(0, 2**62, 1_000)
    write(path, [pa.table({"source_row": noise})], account(1_000))
    column = pq.read_metadata(path).row_group(0).column(0)
    damaged = bytearray(path.read_bytes())
    damaged[column.dictionary_page_offset + 4_000] ^= 1
    path.write_bytes(damaged)

    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_row_groups_are_bounded_in_rows_and_are_not_one_for_each_window(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    windows = [table_of(4_096, n * 4_096) for n in range(40)]

    write(path, windows, account(40 * 4_096))

    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
    assert sizes == [RESULT_ROW_GROUP_ROWS, RESULT_ROW_GROUP_ROWS, 32_768]


def test_wide_ids_end_a_row_group_early(tmp_path: Path) -> None:
    path, rows = tmp_path / "part.parquet", 80
    wide = pa.table({"id": ["x" * 1_000_000] * 10})

    write(path, [wide] * (rows // 10), account(rows))

    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
    assert sum(sizes) == rows
    assert max(sizes) * 1_000_000 <= ROW_GROUP_BYTES + wide.nbytes


def test_ids_in_dictionaries_that_differ_from_window_to_window_keep_type_and_values(
    tmp_path: Path,
) -> None:
    path = tmp_path / "part.parquet"
    values: list[list[str | None]] = [["a", "b", None], ["c", None, "a"], ["d", "d", "b"]]
    windows = [pa.table({"id": pa.array(part).dictionary_encode()}) for part in values]

    write(path, windows, account(9))

    ids = pq.read_table(path)["id"]
    assert ids.type == pa.dictionary(pa.int32(), pa.string())
    assert ids.to_pylist() == [value for part in values for value in part]


def test_nested_ids_keep_type_and_values(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    table = pa.table({"id": pa.array([{"x": [1, None], "y": "a"}, None, {"x": [], "y": None}])})

    write(path, [table, table.slice(1)], account(5))

    ids = pq.read_table(path)["id"]
    assert ids.type == table["id"].type
    assert ids.to_pylist() == table["id"].to_pylist() + table["id"].to_pylist()[1:]


def test_a_second_result_of_the_same_chunk_is_not_created_and_the_first_stays(
    tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "part.parquet"
    created, contents = [], []
    for attempt in (1, 2):
        created.append(write(path, [table_of(10, attempt)], account(10, attempt=attempt)))
        contents.append(path.read_bytes())

    assert created == [True, False]
    assert contents[0] == contents[1]
    assert read_account(Storage(), str(path)).attempt == 1
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("rows", [9, 11])
def test_a_result_short_or_long_of_its_account_is_a_bug_and_is_not_created(
    tmp_path: Path, scratch: Path, rows: int
) -> None:
    path = tmp_path / "part.parquet"

    with pytest.raises(AssertionError, match=f"{rows} rows written"):
        write(path, [table_of(rows)], account(10))

    assert not path.exists()
    assert list(scratch.iterdir()) == []


def test_rows_of_another_schema_are_a_bug_and_leave_nothing(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "part.parquet"
    other = pa.table({"source_row": pa.array(["text"])})

    with pytest.raises(pa.ArrowInvalid, match="Schema"):
        write(path, [table_of(1), other], account(2))

    assert not path.exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("rows", [0, 10, RESULT_ROW_GROUP_ROWS + 1])
def test_a_block_left_by_an_error_leaves_no_file_and_no_open_one(
    tmp_path: Path, scratch: Path, rows: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_break_off(table_of(rows), KeyboardInterrupt())

    assert list(scratch.iterdir()) == []
    assert open_under(tmp_path) == []


def test_a_full_disk_is_trouble_that_may_pass_and_leaves_nothing(
    tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "part.parquet"
    noise = pa.table({"source_row": np.random.default_rng(0).integers(0, 2**62, 100_000)})

    with limited_to(100_000), pytest.raises(StorageUnavailable, match="File too large"):
        write(path, [noise], account(100_000))

    assert not path.exists()
    assert list(scratch.iterdir()) == []
    assert open_under(tmp_path) == []


def test_a_disk_that_fills_up_only_at_the_end_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "part.parquet"

    with limited_to(40), pytest.raises(StorageUnavailable, match="File too large"):
        write(path, [table_of(10)], account(10))

    assert not path.exists()
    assert list(scratch.iterdir()) == []
