"""What is read from footers, and which files are refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.footers import TAIL_BYTES, Footer, read_footers
from schemas.errors import BulkError, InputCorrupt, InputMissing, SchemaMismatch, UsageError
from schemas.job import SkippedFile
from schemas.storage import Storage
from support import bad_corpora, corpora, crafted

# Column metadata that contradicts itself: pyarrow 26 aborts.
DEADLY = """
import sys
import pyarrow.parquet as pq
row_group = pq.read_metadata(sys.argv[1]).row_group(1)
row_group.column(0)
"""


def read(
    *paths: Path, ids: tuple[str, ...] = (), skip: bool = False
) -> tuple[list[Footer], list[SkippedFile]]:
    storage = Storage()
    files = [storage.stat(str(path)) for path in paths]
    return read_footers(storage, files, text_column="text", id_columns=ids, skip_bad_files=skip)


def test_rows_and_text_bytes_of_every_row_group_are_those_of_the_file(tmp_path: Path) -> None:
    paths = corpora.write_many_files(tmp_path, files=70, rows_per_file=50)

    footers, skipped = read(*paths, ids=("id",))

    assert skipped == []
    assert [footer.file.uri for footer in footers] == [str(path) for path in paths]
    for footer, path in zip(footers, paths, strict=True):
        metadata = pq.read_metadata(path)
        groups = [metadata.row_group(g) for g in range(metadata.num_row_groups)]
        assert footer.group_rows.tolist() == [group.num_rows for group in groups] == [20, 20, 10]
        sizes = [group.column(1).total_uncompressed_size for group in groups]
        assert footer.group_text_bytes.tolist() == sizes
        assert footer.id_types == (pa.string(),)


def test_a_footer_larger_than_the_first_read_is_read_whole(tmp_path: Path) -> None:
    path = corpora.write_one_row_row_groups(tmp_path / "a.parquet", rows=400)
    assert pq.read_metadata(path).serialized_size > TAIL_BYTES

    (footer,), _ = read(path)

    assert footer.group_rows.tolist() == [1] * 400


def test_empty_row_groups_and_files_without_a_row_are_sound(tmp_path: Path) -> None:
    gaps = corpora.write_empty_row_groups(tmp_path / "gaps.parquet")
    no_rows = corpora.write_no_rows(tmp_path / "none.parquet")

    (with_gaps, without_rows), _ = read(gaps, no_rows)

    assert with_gaps.group_rows.tolist() == [0, 30, 0, 20, 0]
    assert without_rows.group_rows.sum() == 0


@pytest.mark.parametrize("text_type", corpora.TEXT_TYPES)
def test_every_kind_of_text_column_is_taken_and_kinds_may_differ_between_files(
    tmp_path: Path, text_type: corpora.TextType
) -> None:
    plain = corpora.write_corpus(tmp_path / "plain.parquet")
    other = corpora.write_corpus(tmp_path / "other.parquet", text_type=text_type)

    footers, _ = read(plain, other, ids=("id",))

    assert all((footer.group_text_bytes > 0).all() for footer in footers)


def test_the_size_is_that_of_the_column_itself_and_not_of_a_namesake_in_a_struct(
    tmp_path: Path,
) -> None:
    table = pa.table({"meta": [{"text": "x"}] * 3, "text": ["long text " * 500] * 3})
    path = corpora.write_table(tmp_path / "a.parquet", table, use_dictionary=False)

    (footer,), _ = read(path)

    assert footer.group_text_bytes.sum() > 15_000


def test_nested_and_repeated_columns_that_nobody_asked_for_do_no_harm(tmp_path: Path) -> None:
    nested = corpora.write_nested_columns(tmp_path / "nested.parquet")
    table = corpora.make_table(["a", "b"]).append_column("id", pa.array([1, 2]))
    repeated = corpora.write_table(tmp_path / "repeated.parquet", table)

    assert len(read(nested, repeated)[0]) == 2


BROKEN: list[Callable[[Path], Path]] = [
    bad_corpora.write_not_parquet,
    bad_corpora.write_zero_bytes,
    bad_corpora.write_truncated,
    bad_corpora.write_broken_footer,
    lambda path: bad_corpora.write_encrypted(path, footer="encrypted"),
    lambda path: bad_corpora.write_encrypted(path, footer="plaintext"),
]


@pytest.mark.parametrize("write", BROKEN)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / "broken.parquet")

    with pytest.raises(InputCorrupt, match=r"broken\.parquet"):
        read(corpora.write_corpus(tmp_path / "sound.parquet"), path)


@pytest.mark.parametrize("write", BROKEN)
def test_a_file_that_cannot_be_read_is_left_out_when_that_is_wanted(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    sound = corpora.write_corpus(tmp_path / "sound.parquet")
    path = write(tmp_path / "broken.parquet")

    footers, skipped = read(path, sound, skip=True)

    assert [footer.file.uri for footer in footers] == [str(sound)]
    assert [(bad.uri, bad.code) for bad in skipped] == [(str(path), "input_corrupt")]
    assert str(path) in skipped[0].reason


def test_a_file_of_which_another_column_is_encrypted_can_be_read(tmp_path: Path) -> None:
    path = bad_corpora.write_encrypted(tmp_path / "a.parquet", footer="plaintext")
    storage = Storage()

    (footer,), _ = read_footers(storage, [storage.stat(str(path))], text_column="id")

    assert footer.group_text_bytes.sum() > 0


def test_encryption_is_said_to_be_the_reason(tmp_path: Path) -> None:
    for footer in ("encrypted", "plaintext"):
        path = bad_corpora.write_encrypted(tmp_path / "a.parquet", footer=footer)

        with pytest.raises(InputCorrupt, match="encrypted"):
            read(path)


def test_a_file_that_vanished_since_it_was_listed_is_missing(tmp_path: Path) -> None:
    storage = Storage()
    file = storage.stat(str(corpora.write_corpus(tmp_path / "a.parquet")))
    (tmp_path / "a.parquet").unlink()

    with pytest.raises(InputMissing, match=r"a\.parquet"):
        read_footers(storage, [file], text_column="text")


def test_row_counts_that_cannot_be_are_damage(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", rows=63, row_group_rows=None)
    content = bytearray(path.read_bytes())
    # 63 rows are the varint 126; the last one in the footer counts the rows of the row group.
    content[content.rindex(b"\x7e")] ^= 0x02
    path.write_bytes(content)

    with pytest.raises(InputCorrupt, match=r"a\.parquet"):
        read(path)


@pytest.mark.parametrize("rows", [-1, 2**31, 2**62])
def test_a_row_group_of_more_rows_than_can_be_is_damage(tmp_path: Path, rows: int) -> None:
    path = crafted.write_footer(tmp_path / "a.parquet", [crafted.row_group(rows)], rows=rows)

    with pytest.raises(InputCorrupt, match=r"a\.parquet"):
        read(path)


def test_a_footer_of_very_many_row_groups_without_a_row_is_read_in_seconds(tmp_path: Path) -> None:
    groups = [crafted.row_group(0)] * 50_000
    path = crafted.write_footer(tmp_path / "a.parquet", groups, rows=0)

    (footer,), _ = read(path)

    assert len(footer.group_rows) == 50_000


def test_a_column_that_is_said_to_lie_outside_the_file_is_damage(tmp_path: Path) -> None:
    groups = [crafted.row_group(5), crafted.row_group(5, place=1 << 20)]
    path = crafted.write_footer(tmp_path / "a.parquet", groups, rows=10)

    with pytest.raises(InputCorrupt, match=r"a\.parquet"):
        read(path)


def test_a_footer_that_would_end_the_process_is_refused(tmp_path: Path) -> None:
    groups = [crafted.row_group(5), crafted.row_group(5, levels=7)]
    path = crafted.write_footer(tmp_path / "a.parquet", groups, rows=10)
    alone = [sys.executable, "-c", DEADLY, str(path)]

    assert subprocess.run(alone, capture_output=True).returncode != 0
    with pytest.raises(InputCorrupt, match=r"a\.parquet .* size: 7, expected: 2"):
        read(path)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_schema_of_absurd_depth_is_damage(tmp_path: Path, depth: int) -> None:
    path = crafted.write_footer(
        tmp_path / "a.parquet", [], rows=0, schema=crafted.deep_schema(depth)
    )

    with pytest.raises(InputCorrupt, match="too deeply nested"):
        read(path)


def test_a_missing_column_is_named_with_the_file_and_the_columns_there_are(tmp_path: Path) -> None:
    paths = bad_corpora.write_missing_column(tmp_path)

    with pytest.raises(SchemaMismatch, match=r"1\.parquet has no column 'text'; its columns: id"):
        read(*paths)


def test_a_text_column_of_numbers_is_refused(tmp_path: Path) -> None:
    paths = bad_corpora.write_changed_type(tmp_path)

    with pytest.raises(SchemaMismatch, match=r"1\.parquet: column 'text' is int64"):
        read(*paths)


def test_id_columns_that_differ_are_named_with_both_files(tmp_path: Path) -> None:
    paths = bad_corpora.write_changed_id_type(tmp_path)

    with pytest.raises(SchemaMismatch, match=r"int64 in .*1\.parquet and string in .*0\.parquet"):
        read(*paths, ids=("id",))


def test_ids_that_differ_do_not_matter_where_no_id_is_wanted(tmp_path: Path) -> None:
    assert len(read(*bad_corpora.write_changed_id_type(tmp_path))[0]) == 2


def test_two_columns_of_the_name_that_is_asked_for_are_refused(tmp_path: Path) -> None:
    path = bad_corpora.write_duplicate_column(tmp_path / "a.parquet")

    with pytest.raises(SchemaMismatch, match="2 columns named 'text'"):
        read(path)


@pytest.mark.parametrize("ids", [("score",), ("id", "id"), ("source_row",)])
def test_an_id_column_twice_or_with_the_name_of_a_result_column_is_refused(
    tmp_path: Path, ids: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match="id column"):
        read(corpora.write_corpus(tmp_path / "a.parquet"), ids=ids)


def test_when_every_file_is_bad_all_are_left_out(tmp_path: Path) -> None:
    bad = [bad_corpora.write_truncated(tmp_path / f"{n}.parquet") for n in range(2)]

    footers, skipped = read(*bad, skip=True)

    assert footers == []
    assert [file.uri for file in skipped] == [str(path) for path in bad]


def test_progress_is_told_once_for_every_file(tmp_path: Path) -> None:
    storage = Storage()
    paths = corpora.write_many_files(tmp_path, files=40)
    files = [storage.stat(str(path)) for path in paths]
    told: list[tuple[int, int]] = []

    read_footers(storage, files, text_column="text", progress=lambda *n: told.append(n))

    assert told == [(n, 40) for n in range(1, 41)]


def test_the_first_bad_file_in_order_is_told(tmp_path: Path) -> None:
    sound = corpora.write_many_files(tmp_path, files=50)
    for broken in (sound[33], sound[40]):
        broken.write_bytes(b"no")

    with pytest.raises(BulkError) as caught:
        read(*sound)

    assert str(sound[33]) in str(caught.value)
