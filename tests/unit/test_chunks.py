"""The chunk table keeps every chunk as it was given, through bytes and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chunks import CHUNK_SCHEMA, Chunk, ChunkTable, sha256_of

INT32 = st.integers(min_value=0, max_value=2**31 - 1)
INT64 = st.integers(min_value=0, max_value=2**63 - 1)
PLACES = st.tuples(INT32, INT64, INT32, INT64)


def chunks_of(places: list[tuple[int, int, int, int]]) -> list[Chunk]:
    return [
        Chunk(index=n, file=file, row_start=start, rows=rows, text_bytes=size)
        for n, (file, start, rows, size) in enumerate(places)
    ]


@given(st.lists(PLACES, max_size=20))
def test_a_table_gives_back_every_chunk_also_after_a_way_through_bytes(
    places: list[tuple[int, int, int, int]],
) -> None:
    chunks = chunks_of(places)
    table = ChunkTable.from_chunks(chunks)

    again = ChunkTable.from_bytes(table.to_bytes())

    assert [table[n] for n in range(len(table))] == chunks
    assert [again[n] for n in range(len(again))] == chunks
    assert again.table.schema.equals(CHUNK_SCHEMA)


def test_the_same_chunks_make_the_same_bytes() -> None:
    chunks = chunks_of([(0, 0, 10, 100), (0, 10, 5, 50)])

    tables = [ChunkTable.from_chunks(iter(chunks)).to_bytes() for _ in range(2)]

    assert sha256_of(tables[0]) == sha256_of(tables[1])


def test_chunks_out_of_order_are_a_bug() -> None:
    first, second = chunks_of([(0, 0, 10, 100), (0, 10, 5, 50)])

    with pytest.raises(AssertionError, match="bug: chunk 1 stands at place 0"):
        ChunkTable.from_chunks([second, first])


@pytest.mark.parametrize("index", [-1, 2, 10**9])
def test_a_chunk_that_is_not_there_is_an_error(index: int) -> None:
    table = ChunkTable.from_chunks(chunks_of([(0, 0, 10, 100), (0, 10, 5, 50)]))

    with pytest.raises(IndexError):
        table[index]


def test_a_value_too_large_for_its_column_is_refused() -> None:
    too_many = Chunk(index=0, file=0, row_start=0, rows=2**31, text_bytes=0)

    with pytest.raises(OverflowError):
        ChunkTable.from_chunks([too_many])
