"""The corpora that other tests rely on have the property that they are named after."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import bad_corpora, corpora
from support.texts import MILLION, ODD, UNSCORABLE, invalid_utf8, ordinary_texts


def group_sizes(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


@pytest.mark.parametrize("text_type", corpora.TEXT_TYPES)
def test_each_text_type_comes_back_as_it_was_written(
    tmp_path: Path, text_type: corpora.TextType
) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", text_type=text_type)

    texts = pq.read_table(path)["text"]

    assert text_type in str(texts.type)
    plain = texts.cast(pa.string()) if text_type != "string_view" else texts
    assert plain.to_pylist() == ordinary_texts(100)


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    first = corpora.write_corpus(tmp_path / "1.parquet", seed=3)
    second = corpora.write_corpus(tmp_path / "2.parquet", seed=3)
    other = corpora.write_corpus(tmp_path / "3.parquet", seed=4)

    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


def test_row_groups_have_the_sizes_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"

    assert group_sizes(corpora.write_corpus(path)) == [40, 40, 20]
    assert group_sizes(corpora.write_empty_row_groups(path)) == [0, 30, 0, 20, 0]
    assert group_sizes(corpora.write_no_rows(path)) == []
    assert group_sizes(corpora.write_one_row_row_groups(path)) == [1] * 25
    assert group_sizes(corpora.write_huge_row_group(path)) == [200_000]


def test_many_files_have_ids_that_never_repeat(tmp_path: Path) -> None:
    paths = corpora.write_many_files(tmp_path, files=7, rows_per_file=11)

    ids = [value for path in paths for value in pq.read_table(path)["id"].to_pylist()]
    assert len(paths) == 7
    assert len(set(ids)) == 77


def test_awkward_and_nested_and_duplicate_corpora_are_sound_files(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    awkward = pq.read_table(corpora.write_awkward_texts(path)).to_pylist()
    nested = pq.read_table(corpora.write_nested_columns(path))
    duplicate = pq.read_table(corpora.write_duplicate_ids(path))

    texts = {row["id"]: row["text"] for row in awkward}
    assert {name: texts[name] for name in {**UNSCORABLE, **ODD}} == {**UNSCORABLE, **ODD}
    assert len(texts["million_characters"]) == MILLION
    assert nested.column_names == ["id", "text", "tags", "author", "counts", "seen"]
    assert len(set(duplicate["id"].to_pylist())) == 20
    assert duplicate.num_rows == 60


@pytest.mark.parametrize("declared_as", ["binary", "string"])
def test_invalid_utf8_reads_without_complaint_until_it_is_decoded(
    tmp_path: Path, declared_as: str
) -> None:
    path = corpora.write_invalid_utf8(tmp_path / "a.parquet", declared_as=declared_as)  # type: ignore[arg-type]

    texts = pq.read_table(path)["text"]

    assert str(texts.type) == declared_as
    assert texts.cast(pa.binary()).to_pylist()[::2] == list(invalid_utf8().values())
    for value in invalid_utf8().values():
        with pytest.raises(UnicodeDecodeError):
            value.decode()


@pytest.mark.parametrize(
    "write",
    [
        bad_corpora.write_not_parquet,
        bad_corpora.write_zero_bytes,
        bad_corpora.write_truncated,
        bad_corpora.write_broken_footer,
        lambda path: bad_corpora.write_encrypted(path, footer="encrypted"),
    ],
)
def test_files_without_a_readable_footer_are_refused(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / "a.parquet")

    with pytest.raises((pa.ArrowInvalid, OSError)):
        pq.read_metadata(path)


@pytest.mark.parametrize("footer", ["encrypted", "plaintext"])
def test_encrypted_files_open_with_their_keys_only(tmp_path: Path, footer: str) -> None:
    path = bad_corpora.write_encrypted(tmp_path / "a.parquet", footer=footer)  # type: ignore[arg-type]

    assert bad_corpora.read_encrypted(path)["text"].to_pylist() == ordinary_texts(100)
    with pytest.raises((pa.ArrowInvalid, OSError)):
        pq.read_table(path)


@pytest.mark.parametrize("damage", ["checksum", "codec"])
@pytest.mark.parametrize("row_group", [0, 1, 2])
def test_only_the_damaged_row_group_fails(tmp_path: Path, damage: str, row_group: int) -> None:
    path = bad_corpora.write_damaged_row_group(
        tmp_path / "a.parquet",
        damage=damage,  # type: ignore[arg-type]
        row_group=row_group,
    )
    file = pq.ParquetFile(path, page_checksum_verification=damage == "checksum")

    for number in {0, 1, 2} - {row_group}:
        assert file.read_row_group(number).num_rows == 40
    with pytest.raises(OSError, match=r"(?i)crc|checksum|zstd"):
        file.read_row_group(row_group)


def test_damage_under_a_checksum_is_invisible_to_a_reader_that_does_not_verify(
    tmp_path: Path,
) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "a.parquet", damage="checksum")

    texts = pq.read_table(path)["text"].to_pylist()

    assert texts != ordinary_texts(120)


def test_drifting_corpora_drift_in_the_second_file(tmp_path: Path) -> None:
    missing = bad_corpora.write_missing_column(tmp_path / "missing")
    changed = bad_corpora.write_changed_type(tmp_path / "changed")
    ids = bad_corpora.write_changed_id_type(tmp_path / "ids")
    twice = bad_corpora.write_duplicate_column(tmp_path / "twice.parquet")

    assert [pq.read_schema(path).names for path in missing] == [["id", "text"], ["id"]]
    assert [str(pq.read_schema(path).field("text").type) for path in changed] == [
        "string",
        "int64",
    ]
    assert [str(pq.read_schema(path).field("id").type) for path in ids] == ["string", "int64"]
    assert pq.read_schema(twice).names == ["id", "text", "text"]
