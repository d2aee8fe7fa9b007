"""The reader gives every row of a chunk exactly once and in order."""

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import RowError
from support import corpora
from support.reading import errors_of, ids_of, read, texts_of
from support.texts import MILLION, invalid_utf8, ordinary_texts
from worker.reader import FIRST_WINDOW_ROWS


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
        size = sum(len(text.encode()) for text in window.texts.values.to_pylist())
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

    gently = [len(window) for window in read(path, window_rows=800, growth=1.25)]
    assert gently == [512, 640, 800, 800, 800, 544]


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

    assert plain.texts.values.to_pylist() == ["the text"]
    assert plain.ids.to_pylist() == [
        {"text2": {"text": "struct text2", "n": 1}, "meta": {"text": "struct meta"}}
    ]
    assert dotted.texts.values.to_pylist() == ["flat with a dot"]
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
    assert window.texts.values.to_pylist() == ["one", "two", "three"]


def test_a_chunk_without_id_columns_has_its_rows_all_the_same(tmp_path: Path) -> None:
    path = corpora.write_corpus(tmp_path / "a.parquet", 70)

    windows = read(path, id_columns=())

    assert texts_of(windows) == ordinary_texts(70)
    assert windows[0].ids.column_names == []
