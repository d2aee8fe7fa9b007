"""The reader gives every row of a chunk exactly once and in order, or says what is wrong where."""

import itertools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.chunks import Chunk
from schemas.errors import InputChanged, InputCorrupt, InputMissing, RowError, SchemaMismatch
from schemas.job import InputFile
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.files import open_under
from support.texts import MILLION, invalid_utf8, ordinary_texts
from worker.reader import FIRST_WINDOW_ROWS, Window, read_windows

# For 500,000 rows in one row group.
READER_MEMORY_MB = 80

MEASURE_READING = """
import sys
import numpy, pyarrow.compute, pyarrow.parquet
from schemas.chunks import Chunk
from schemas.job import InputFile
from schemas.storage import Storage
from worker.reader import read_windows

def memory_mb(name):
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    return int(open("/proc/self/status").read().split(name)[1].split()[0]) / 1024

uri, rows, text_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
found = Storage().stat(uri)
file = InputFile(uri=uri, size=found.size, etag=found.etag, rows=rows, row_groups=1)
chunk = Chunk(index=0, file=0, row_start=0, rows=rows, text_bytes=text_bytes)
before = memory_mb("VmHWM:")
windows = read_windows(Storage(), file, chunk, text_column="text", id_columns=["id"])
read_rows = sum(len(window) for window in windows)
print(read_rows, memory_mb("VmHWM:") - before, memory_mb("VmRSS:") - before)
"""


def input_file(path: Path) -> InputFile:
    found = Storage().stat(str(path))
    return InputFile(uri=str(path), size=found.size, etag=found.etag, rows=0, row_groups=0)


def chunk_of(row_start: int, rows: int, text_bytes: int | None = None) -> Chunk:
    size = rows * 100 if text_bytes is None else text_bytes
    return Chunk(index=3, file=0, row_start=row_start, rows=rows, text_bytes=size)


def read(
    path: Path,
    row_start: int = 0,
    rows: int | None = None,
    *,
    text_column: str = "text",
    id_columns: tuple[str, ...] = ("id",),
    window_rows: int = 1_000,
    window_bytes: int = 1 << 20,
) -> list[Window]:
    count = pq.read_metadata(path).num_rows - row_start if rows is None else rows
    return list(
        read_windows(
            Storage(),
            input_file(path),
            chunk_of(row_start, count),
            text_column=text_column,
            id_columns=id_columns,
            window_rows=window_rows,
            window_bytes=window_bytes,
        )
    )


def ids_of(windows: list[Window], column: str = "id") -> list[object]:
    return [value for window in windows for value in window.ids[column].to_pylist()]


def texts_of(windows: list[Window]) -> list[str]:
    return [text for window in windows for text in window.texts.values]


def errors_of(windows: list[Window]) -> list[RowError | None]:
    return [error for window in windows for error in window.texts.errors]


@pytest.mark.parametrize("text_type", corpora.TEXT_TYPES)
def test_each_text_type_gives_the_same_rows(tmp_path: Path, text_type: corpora.TextType) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", 500, text_type=text_type)

    windows = read(path, 20, 333)

    assert texts_of(windows) == ordinary_texts(500)[20:353]
    assert ids_of(windows) == [f"doc-{n:06}" for n in range(20, 353)]
    assert set(errors_of(windows)) == {None}


@pytest.mark.parametrize(
    "write",
    [
        corpora.write_empty_row_groups,
        corpora.write_one_row_row_groups,
        corpora.write_nested_columns,
        corpora.write_duplicate_ids,
    ],
)
def test_unusual_files_just_work(tmp_path: Path, write) -> None:
    path = write(tmp_path / "a.parquet")

    windows = read(path)

    table = pq.read_table(path)
    assert texts_of(windows) == table["text"].to_pylist()
    assert ids_of(windows) == table["id"].to_pylist()


def test_awkward_texts_come_through_and_unscorable_ones_get_their_code(tmp_path: Path) -> None:
    path = corpora.write_awkward_texts(tmp_path / "a.parquet")

    windows = read(path)

    texts = dict(zip(ids_of(windows), texts_of(windows), strict=True))
    errors = dict(zip(ids_of(windows), errors_of(windows), strict=True))
    assert {name: error for name, error in errors.items() if error} == {
        "null": RowError.TEXT_NULL,
        "empty": RowError.TEXT_BLANK,
        "spaces": RowError.TEXT_BLANK,
        "white_space": RowError.TEXT_BLANK,
    }
    assert texts["nul"] == "before\x00after"
    assert len(texts["million_characters"]) == MILLION


@pytest.mark.parametrize("declared_as", ["binary", "string"])
def test_invalid_utf8_is_an_error_of_its_row(tmp_path: Path, declared_as) -> None:
    path = corpora.write_invalid_utf8(tmp_path / "a.parquet", declared_as=declared_as)

    windows = read(path)

    assert errors_of(windows) == [RowError.TEXT_INVALID_UTF8, None] * len(invalid_utf8())
    assert texts_of(windows) == ["", "a sound text"] * len(invalid_utf8())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=6),
    borders=st.lists(st.integers(0, 900), max_size=6),
    window_rows=st.integers(1, 200),
    window_bytes=st.integers(1, 20_000),
)
def test_however_a_file_is_cut_each_row_comes_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    borders: list[int],
    window_rows: int,
    window_bytes: int,
) -> None:
    path = tmp_path_factory.mktemp("corpus") / "a.parquet"
    corpora.write_row_groups(path, sizes)
    rows = sum(sizes)
    cuts = sorted({0, rows, *(border for border in borders if border < rows)})

    windows = [
        window
        for start, end in itertools.pairwise(cuts)
        for window in read(
            path, start, end - start, window_rows=window_rows, window_bytes=window_bytes
        )
    ]

    assert ids_of(windows) == [f"doc-{n:06}" for n in range(rows)]
    assert texts_of(windows) == pq.read_table(path)["text"].to_pylist()
    position = 0
    for window in windows:
        assert window.row_start == position
        assert 0 < len(window) == window.ids.num_rows <= window_rows
        size = sum(len(text.encode()) for text in window.texts.values)
        assert size <= window_bytes or len(window) == 1
        position += len(window)
    assert position == rows


def test_windows_are_as_full_as_their_bounds_allow(tmp_path: Path) -> None:
    texts = ["x" * 1_000] * 500
    path = corpora.write_table(tmp_path / "a.parquet", corpora.make_table(texts))

    by_rows = [len(window) for window in read(path, window_rows=200)]
    by_bytes = [len(window) for window in read(path, window_bytes=101_500, id_columns=())]

    assert by_rows == [200, 200, 100]
    assert by_bytes == [101, 101, 101, 101, 96]


def test_the_first_windows_are_small_and_double_so_that_the_engine_soon_has_work(
    tmp_path: Path,
) -> None:
    texts = ["x"] * (8 * FIRST_WINDOW_ROWS)
    path = corpora.write_table(tmp_path / "a.parquet", corpora.make_table(texts))

    windows = [len(window) for window in read(path, window_rows=3 * FIRST_WINDOW_ROWS)]

    assert windows == [FIRST_WINDOW_ROWS * times for times in (1, 2, 3, 2)]


def test_a_row_larger_than_a_window_is_a_window_of_its_own(tmp_path: Path) -> None:
    texts = ["a", "b", "x" * 5_000, "c", "d"]
    path = corpora.write_table(tmp_path / "a.parquet", corpora.make_table(texts))

    windows = read(path, window_bytes=1_000)

    assert [len(window) for window in windows] == [2, 1, 2]


def test_wide_id_columns_count_towards_the_size_of_a_window(tmp_path: Path) -> None:
    table = corpora.make_table(["a"] * 100, extra={"payload": ["y" * 10_000] * 100})
    path = corpora.write_table(tmp_path / "a.parquet", table, use_dictionary=False)

    windows = read(path, id_columns=("payload",), window_bytes=100_000)

    assert max(len(window) for window in windows) < 10


def test_columns_of_like_names_are_not_mixed_up(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text2": [{"text": "struct text2", "n": 1}],
            "meta": [{"text": "struct meta"}],
            "meta.text": ["flat with a dot"],
            "text": ["the text"],
            "text.en": ["another"],
        }
    )
    path = corpora.write_table(tmp_path / "a.parquet", table)

    (plain,) = read(path, id_columns=("text2", "meta"))
    (dotted,) = read(path, text_column="meta.text", id_columns=("text.en",))

    assert plain.texts.values == ["the text"]
    assert plain.ids.to_pylist() == [
        {"text2": {"text": "struct text2", "n": 1}, "meta": {"text": "struct meta"}}
    ]
    assert dotted.texts.values == ["flat with a dot"]
    assert dotted.ids.to_pylist() == [{"text.en": "another"}]


def test_id_columns_keep_their_types_their_order_and_their_values(tmp_path: Path) -> None:
    ids = pa.table(
        {
            "number": pa.array([1, None, 3], pa.uint16()),
            "category": pa.array(["a", "b", None]).dictionary_encode(),
            "place": pa.array([{"x": [1, 2]}, None, {"x": None}]),
            "seen": pa.array([0, None, 2_000], pa.timestamp("ns", "Europe/Berlin")),
        }
    )
    table = ids.append_column("text", pa.array(["one", "two", "three"]))
    path = corpora.write_table(tmp_path / "a.parquet", table)
    names = ("seen", "category", "number", "place", "text")

    (window,) = read(path, id_columns=names)

    expected = pq.read_table(path).select(names)
    assert window.ids.schema.types == expected.schema.types
    assert window.ids.column_names == list(names)
    assert window.ids.to_pylist() == expected.to_pylist()
    assert window.texts.values == ["one", "two", "three"]


def test_a_chunk_without_id_columns_has_its_rows_all_the_same(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", 70)

    windows = read(path, id_columns=())

    assert texts_of(windows) == ordinary_texts(70)
    assert windows[0].ids.column_names == []


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
        window_rows=10,
    )

    next(windows)
    opened = open_under(tmp_path)
    windows.close()

    assert opened == [str(path)]
    assert open_under(tmp_path) == []


@dataclass(frozen=True)
class Reading:
    """Rows read, and how memory grew in MB: at its peak, and when all was read."""

    rows: int
    peak: float
    kept: float


def measured(path: Path, rows: int, text_bytes: int) -> Reading:
    """Read a whole file in a process of its own."""
    arguments = [str(path), str(rows), str(text_bytes)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE_READING, *arguments], capture_output=True, check=True
    )
    read_rows, peak, kept = run.stdout.split()
    return Reading(int(read_rows), float(peak), float(kept))


def test_half_a_million_rows_in_one_row_group_are_read_in_bounded_memory(tmp_path: Path) -> None:
    rows = 500_000
    texts = ordinary_texts(2_000)
    table = corpora.make_table([f"{texts[n % len(texts)]} {n}" for n in range(rows)])
    path = tmp_path / "a.parquet"
    corpora.write_table(path, table, row_group_rows=rows, use_dictionary=False, compression="zstd")

    reading = measured(path, rows, table["text"].nbytes)

    assert reading.rows == rows
    assert reading.peak < READER_MEMORY_MB


def test_a_long_text_stored_once_and_repeated_hundreds_of_times_does_not_explode(
    tmp_path: Path,
) -> None:
    rows = 450  # 450 MB in all, 1 MB in the file's dictionary
    table = corpora.make_table(["x y " * (MILLION // 4)] * rows)
    path = corpora.write_table(tmp_path / "a.parquet", table)

    reading = measured(path, rows, MILLION)

    assert reading.rows == rows
    assert reading.peak < 300


def test_documents_of_a_million_bytes_in_small_pages_are_read_in_bounded_memory(
    tmp_path: Path,
) -> None:
    path, rows = write_long_documents(tmp_path, write_batch_size=16)

    reading = measured(path, rows, rows * MILLION)

    assert reading.rows == rows
    assert reading.peak < 200


def test_a_page_is_as_large_as_its_writer_made_it_but_its_memory_is_given_back(
    tmp_path: Path,
) -> None:
    path, rows = write_long_documents(tmp_path, use_dictionary=False)

    reading = measured(path, rows, rows * MILLION)

    assert reading.rows == rows
    assert reading.peak > rows  # all texts in one page: docs/concepts.md names this bound
    assert reading.kept < 60


def write_long_documents(folder: Path, **options: object) -> tuple[Path, int]:
    """Write 300 different texts of a million bytes as one row group."""
    rows = 300
    table = corpora.make_table([f"{n:08}" + "x y " * (MILLION // 4 - 2) for n in range(rows)])
    path = corpora.write_table(folder / "a.parquet", table, row_group_rows=rows, **options)
    return path, rows
