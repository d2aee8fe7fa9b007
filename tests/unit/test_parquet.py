"""Files of strangers are read, or refused by name; no byte of theirs gets past that."""

import contextlib
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import InputChanged, InputCorrupt, InputMissing
from schemas.parquet import decoding, is_text, open_parquet
from schemas.storage import Storage

ROWS = 300


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.parquet"
    table = pa.table({"text": [f"text {n}" for n in range(ROWS)], "id": range(ROWS)})
    pq.write_table(table, path, row_group_size=100, write_page_checksum=True)
    return path


def read_all(path: Path) -> int:
    rows = 0
    with open_parquet(Storage(), str(path)) as file:
        for group in range(file.num_row_groups):
            with decoding(str(path), row_group=group):
                rows += file.read_row_group(group).num_rows
    return rows


def test_a_sound_file_is_read(corpus: Path) -> None:
    assert read_all(corpus) == ROWS


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: b"PAR1",
        lambda good: b"id,text\n1,hello\n",
        lambda good: good[:-1],
        lambda good: good[: len(good) // 2],
        lambda good: good[:-8] + b"\xff\xff\xff\x7f" + b"PAR1",
        lambda good: good[:-4] + b"PARE",
    ],
    ids=["empty", "magic only", "csv", "last byte", "half", "footer length", "encrypted"],
)
def test_what_is_not_a_whole_parquet_file_is_corrupt_and_named(
    corpus: Path, damage: object
) -> None:
    assert callable(damage)
    corpus.write_bytes(damage(corpus.read_bytes()))

    with pytest.raises(InputCorrupt, match=r"corpus\.parquet cannot be read as Parquet"):
        read_all(corpus)


def test_a_page_with_a_flipped_bit_names_its_row_group(corpus: Path) -> None:
    column = pq.read_metadata(corpus).row_group(1).column(0)
    damaged = bytearray(corpus.read_bytes())
    damaged[column.dictionary_page_offset + column.total_compressed_size - 5] ^= 1
    corpus.write_bytes(damaged)

    with pytest.raises(InputCorrupt) as raised:
        read_all(corpus)

    assert raised.value.row_group == 1
    assert f"{corpus}, row group 1, cannot be read" in str(raised.value)
    assert "the checksum of a page does not match" in str(raised.value)


@pytest.mark.parametrize("seed", range(5))
def test_a_footer_with_flipped_bytes_is_read_or_corrupt_and_nothing_else(
    corpus: Path, seed: int
) -> None:
    good = corpus.read_bytes()
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    chance = random.Random(seed)

    for _ in range(100):
        damaged = bytearray(good)
        damaged[chance.randrange(footer, len(good))] = chance.randrange(256)
        corpus.write_bytes(damaged)
        with contextlib.suppress(InputCorrupt):
            read_all(corpus)


def test_a_column_name_that_is_no_utf8_is_corrupt(corpus: Path) -> None:
    corpus.write_bytes(corpus.read_bytes().replace(b"text", b"te\xfft"))

    with (
        pytest.raises(InputCorrupt),
        open_parquet(Storage(), str(corpus)) as file,
        decoding(str(corpus)),
    ):
        _ = file.schema_arrow.names


def test_a_file_that_is_not_there_is_missing_and_a_folder_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(InputMissing), open_parquet(Storage(), str(path)):
            pass


def test_a_file_that_is_not_the_planned_one_is_not_read(corpus: Path) -> None:
    storage = Storage()
    planned = storage.stat(str(corpus))
    pq.write_table(pa.table({"text": ["new"]}), corpus)

    with (
        pytest.raises(InputChanged, match="changed since the job was planned"),
        open_parquet(storage, str(corpus), expected=planned),
    ):
        pass


def test_storage_errors_are_not_taken_for_damage() -> None:
    with pytest.raises(TimeoutError), decoding("/x"):
        raise TimeoutError("storage is slow")
    with pytest.raises(OSError, match="No space"), decoding("/x"):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_strings_of_every_make_can_be_the_text(kind: pa.DataType) -> None:
    assert is_text(kind)


@pytest.mark.parametrize(
    "kind",
    [pa.int64(), pa.list_(pa.string()), pa.null(), pa.dictionary(pa.int32(), pa.int64())],
    ids=str,
)
def test_nothing_else_can_be_the_text(kind: pa.DataType) -> None:
    assert not is_text(kind)
