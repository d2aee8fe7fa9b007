"""What keeps the reader from a row is told with file and place."""

from pathlib import Path

import pyarrow as pa
import pytest

from schemas.errors import InputChanged, InputCorrupt, InputMissing, SchemaMismatch
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.files import open_under
from support.reading import chunk_of, ids_of, input_file, read, texts_of
from support.texts import ordinary_texts
from worker.reader import CPU_WINDOW, read_windows


@pytest.mark.parametrize("damage", ["checksum", "codec"])
@pytest.mark.parametrize("row_group", [0, 1, 2])
def test_a_page_that_does_not_decode_names_file_and_row_group(
    tmp_path: Path, damage: bad_corpora.Damage, row_group: int
) -> None:
    path = bad_corpora.write_damaged_row_group(
        tmp_path / "a.parquet", row_group=row_group, damage=damage
    )

    with pytest.raises(InputCorrupt, match=rf"a\.parquet, row group {row_group},") as raised:
        read(path)

    assert raised.value.row_group == row_group


def test_ids_that_no_reader_of_the_result_could_decode_are_refused(tmp_path: Path) -> None:
    ids = pa.array([b"sound", b"caf\xe9"])
    strings = pa.Array.from_buffers(pa.string(), 2, ids.buffers())
    table = pa.table({"id": strings, "bytes": ids, "text": ["one", "two"]})
    path = corpora.write_table(tmp_path / "a.parquet", table, write_statistics=False)

    with pytest.raises(InputCorrupt, match=r"a\.parquet, rows 0 to 2: .* Invalid UTF8"):
        read(path)
    assert ids_of(read(path, id_columns=("bytes",)), "bytes") == ids.to_pylist()


def test_a_chunk_beside_the_damage_is_read(tmp_path: Path) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "a.parquet", row_group=1)

    assert texts_of(read(path, 80, 40)) == ordinary_texts(120)[80:]
    assert texts_of(read(path, 0, 40)) == ordinary_texts(120)[:40]


def test_damage_in_a_column_nobody_asked_for_does_not_matter(tmp_path: Path) -> None:
    path = bad_corpora.write_damaged_row_group(tmp_path / "a.parquet", column="id")

    assert texts_of(read(path, id_columns=())) == ordinary_texts(120)


def test_a_file_replaced_since_the_plan_is_refused(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet")
    planned = input_file(path)
    corpora.write_corpus(path, seed=1)

    windows = read_windows(Storage(), planned, chunk_of(0, 100), text_column="text", id_columns=())

    with pytest.raises(InputChanged, match="changed since the job was planned"):
        next(windows)


def test_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet")
    planned = input_file(path)
    path.unlink()

    windows = read_windows(Storage(), planned, chunk_of(0, 100), text_column="text", id_columns=())

    with pytest.raises(InputMissing, match=r"a\.parquet"):
        next(windows)


def test_a_chunk_that_reaches_beyond_its_file_is_an_error_and_no_short_result(
    tmp_path: Path,
) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", 100)

    with pytest.raises(InputChanged, match=r"rows 50 to 101 of .*, which ends at 100"):
        read(path, 50, 51)


@pytest.mark.parametrize("name", ["body", "tex", "id.x"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet")

    with pytest.raises(SchemaMismatch, match=f"column '{name}' 0 times"):
        read(path, id_columns=(name,))


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = bad_corpora.write_duplicate_column(tmp_path / "a.parquet")

    with pytest.raises(SchemaMismatch, match="column 'text' 2 times"):
        read(path)


def test_a_reader_given_up_half_way_closes_its_file(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet")
    windows = read_windows(
        Storage(),
        input_file(path),
        chunk_of(0, 100),
        text_column="text",
        id_columns=(),
        size=CPU_WINDOW._replace(rows=10),
    )

    next(windows)
    opened = open_under(tmp_path)
    windows.close()

    assert opened == [str(path)]
    assert open_under(tmp_path) == []
