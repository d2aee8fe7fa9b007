"""Cutting a corpus into chunks."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.footers import Footer
from producer.plan import MAX_ROWS_FACTOR, Plan, make_plan
from schemas.chunks import Chunk
from schemas.errors import UsageError
from schemas.objects import ObjectStat

Groups = list[tuple[int, int]]  # rows and text bytes of each row group of a file


def footer(number: int, groups: Groups) -> Footer:
    rows, text_bytes = zip(*groups, strict=True) if groups else ((), ())
    return Footer(
        file=ObjectStat(uri=f"/corpus/{number}.parquet", size=1000, etag="e"),
        group_rows=np.array(rows, np.int64),
        group_text_bytes=np.array(text_bytes, np.int64),
        id_types=(pa.string(),),
    )


def plan(files: Sequence[Groups], chunk_rows: int) -> Plan:
    return make_plan([footer(n, groups) for n, groups in enumerate(files)], chunk_rows)


def chunks(files: Sequence[Groups], chunk_rows: int) -> list[Chunk]:
    table = plan(files, chunk_rows).chunks
    return [table[index] for index in range(len(table))]


row_groups = st.integers(0, 60).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(0, 40).map(lambda size: rows * size))
)
corpora = st.lists(st.lists(row_groups, max_size=12), max_size=6)


@given(corpora, st.integers(1, 80))
def test_every_row_is_in_exactly_one_chunk_in_the_order_of_the_corpus(
    files: list[Groups], chunk_rows: int
) -> None:
    covered = [
        (chunk.file, row)
        for chunk in chunks(files, chunk_rows)
        for row in range(chunk.row_start, chunk.row_start + chunk.rows)
    ]

    assert covered == [
        (number, row) for number, groups in enumerate(files) for row in range(sum_rows(groups))
    ]


@given(corpora, st.integers(1, 80))
def test_chunks_are_whole_row_groups_or_a_piece_of_one_and_keep_within_the_target(
    files: list[Groups], chunk_rows: int
) -> None:
    made = plan(files, chunk_rows)

    for index in range(len(made.chunks)):
        chunk = made.chunks[index]
        borders = np.cumsum([0, *(rows for rows, _ in files[chunk.file])]).tolist()
        end = chunk.row_start + chunk.rows
        whole = chunk.row_start in borders and end in borders
        piece = any(low <= chunk.row_start and end <= high for low, high in pairwise(borders))
        assert whole or piece
        assert 1 <= chunk.rows <= MAX_ROWS_FACTOR * chunk_rows
        assert chunk.text_bytes <= made.report.target_text_bytes or chunk.rows == 1


@given(corpora, st.integers(1, 80))
def test_neighbors_that_would_fit_into_one_chunk_are_in_one(
    files: list[Groups], chunk_rows: int
) -> None:
    made = plan(files, chunk_rows)
    found = [made.chunks[index] for index in range(len(made.chunks))]

    for one, two in pairwise(found):
        borders = np.cumsum([0, *(rows for rows, _ in files[one.file])]).tolist()
        both_whole = {one.row_start, two.row_start, two.row_start + two.rows} <= set(borders)
        if one.file == two.file and both_whole:
            next_group = next(
                (rows, size)
                for start, (rows, size) in zip(borders, files[two.file], strict=False)
                if start == two.row_start and rows
            )
            fits_rows = one.rows + next_group[0] <= made.report.max_chunk_rows
            fits_bytes = one.text_bytes + next_group[1] <= made.report.target_text_bytes
            assert not (fits_rows and fits_bytes)


@given(corpora, st.integers(1, 80))
def test_no_text_is_lost_from_the_account(files: list[Groups], chunk_rows: int) -> None:
    made = plan(files, chunk_rows)

    held = [(rows, size) for groups in files for rows, size in groups if rows]
    assert made.chunks.column("text_bytes").sum() == sum(size for _, size in held)
    assert made.report.text_bytes == sum(size for _, size in held)
    assert made.rows == sum(rows for rows, _ in held)
    assert made.files == len(files)


def test_small_row_groups_are_put_together_up_to_the_target() -> None:
    found = chunks([[(10_000, 2_000_000)] * 10, [(10_000, 10_000_000)] * 10], 20_000)

    # 6 MB for 10,000 average rows, so 12 MB for a chunk.
    assert [chunk.rows for chunk in found] == [60_000, 40_000, *[10_000] * 10]


def test_the_example_of_the_documentation_comes_out_as_written() -> None:
    short, long = [(10_000, 2_000_000)] * 10, [(10_000, 10_000_000)] * 10

    found = chunks([short, short, long], 20_000)

    assert [chunk.rows for chunk in found] == [40_000, 40_000, 20_000] * 2 + [5_000] * 20


def test_a_large_row_group_is_cut_into_equal_pieces() -> None:
    found = chunks([[(1_003, 100_300)]], 100)

    assert [chunk.rows for chunk in found] == [92, 92] + [91] * 9
    assert sum(chunk.text_bytes for chunk in found) == 100_300


def test_long_texts_make_chunks_of_fewer_rows_and_short_ones_of_more() -> None:
    short, long = (1_000, 10_000), (1_000, 1_990_000)

    found = chunks([[short], [long]], 100)

    assert [chunk.rows for chunk in found if chunk.file == 0] == [333 + 1, 333, 333]
    assert {chunk.rows for chunk in found if chunk.file == 1} == {50}


def test_a_row_group_without_a_byte_of_text_is_cut_by_rows() -> None:
    found = chunks([[(1_000, 0)]], 100)

    assert [chunk.rows for chunk in found] == [334, 333, 333]


def test_empty_files_and_row_groups_give_no_chunk() -> None:
    assert chunks([[], [(0, 0), (0, 0)]], 100) == []
    assert [c.file for c in chunks([[], [(0, 0), (5, 50), (0, 0)], []], 100)] == [1]


def test_a_chunk_never_spans_two_files() -> None:
    assert [c.file for c in chunks([[(1, 10)]] * 5, 1_000)] == [0, 1, 2, 3, 4]


def test_a_million_row_groups_of_one_row_are_put_together_quickly() -> None:
    million = Footer(
        file=ObjectStat(uri="/corpus/a.parquet", size=1, etag="e"),
        group_rows=np.ones(1_000_000, np.int64),
        group_text_bytes=np.full(1_000_000, 100, np.int64),
        id_types=(),
    )

    made = make_plan([million], 2_000)

    assert len(made.chunks) == 500
    assert made.report.smallest_chunk_rows == made.report.largest_chunk_rows == 2_000


def test_a_huge_chunk_target_does_not_overflow() -> None:
    made = plan([[(10**9, 10**13)] * 20], 10**15)

    assert made.report.largest_chunk_rows <= 2**31 - 1
    assert made.chunks.column("rows").sum() == 20 * 10**9


def sum_rows(groups: Groups) -> int:
    return sum(rows for rows, _ in groups)


def test_rows_beyond_all_measure_are_refused_before_they_fill_the_memory() -> None:
    sound, damaged = [(1_000, 100_000)], [(2**31 - 1, 100)] * 200

    with pytest.raises(UsageError, match=r"raise --chunk-rows.* 429,496,729,400 .*/1\.parquet"):
        plan([sound, damaged], 2_000)
