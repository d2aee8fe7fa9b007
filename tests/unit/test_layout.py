"""Names of objects are found again from what they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import layout

CHUNKS = st.integers(min_value=0, max_value=10**9)


@given(CHUNKS)
def test_a_result_tells_its_chunk(chunk: int) -> None:
    name = layout.result("s3://bucket/out", chunk).rsplit("/", 1)[-1]

    assert layout.chunk_of_result(name) == chunk


@given(CHUNKS, st.integers(min_value=0, max_value=10**6))
def test_a_dead_letter_tells_its_chunk_and_generation(chunk: int, generation: int) -> None:
    name = layout.dead_letter("/out", chunk, generation).rsplit("/", 1)[-1]

    assert layout.chunk_of_dead_letter(name) == (chunk, generation)


@given(CHUNKS, CHUNKS)
def test_results_of_up_to_a_million_chunks_sort_as_their_chunks(one: int, other: int) -> None:
    one, other = one % 10**6, other % 10**6

    names = layout.result("/out", one), layout.result("/out", other)

    assert (names[0] < names[1]) == (one < other)


@pytest.mark.parametrize(
    "name",
    [
        "_SUCCESS",
        "part-42.parquet",
        "part-0000042.parquet",
        "part-000042.parquet.tmp",
        ".part-000042.parquet",
        "part-000042.parquet\n",
        "part-٠٠٠٠٤٢.parquet",
        "000042-g0.json",
    ],
)
def test_another_file_is_no_result(name: str) -> None:
    assert layout.chunk_of_result(name) is None


@pytest.mark.parametrize(
    "name", ["000042.json", "42-g0.json", "000042-g0.json\n", "000042-gx.json"]
)
def test_another_file_is_no_dead_letter(name: str) -> None:
    assert layout.chunk_of_dead_letter(name) is None


@pytest.mark.parametrize("output", ["s3://bucket/out", "s3://bucket/out/", "/data/out/"])
def test_everything_lies_under_the_output_and_only_results_are_seen_by_dataset_readers(
    output: str,
) -> None:
    ours = [
        layout.success_marker(output),
        layout.manifest(output),
        layout.chunk_table(output, "0" * 64),
        layout.generation(output, 1),
        layout.dead_letter(output, 1, 0),
        layout.cancelled(output),
        layout.summary(output),
        layout.result_table(output, "0" * 64),
    ]

    folder = output.rstrip("/") + "/"
    assert all(uri.startswith(folder + "_") for uri in ours)
    assert layout.result(output, 7) == folder + "part-000007.parquet"
    assert len(set(ours)) == len(ours)


def test_records_lie_in_the_folders_that_are_listed_for_them() -> None:
    assert layout.generation("/o", 3).startswith(layout.generations("/o") + "/")
    assert layout.dead_letter("/o", 3, 1).startswith(layout.dead_letters("/o") + "/")
