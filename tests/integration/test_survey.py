"""What the object store says of a job's chunks: by names alone, and summed over their contents."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from schemas import layout
from schemas.dead_letter import Buried
from schemas.errors import ManifestMissing
from schemas.result_table import ResultTable
from schemas.results import read_footer
from schemas.storage import Storage
from schemas.survey import survey, tally
from support.ledger_moves import CANCELLED, DEAD, QUEUED, SUCCEEDED
from support.stored_jobs import (
    account_of,
    result_bytes,
    store_dead_letter,
    store_generation,
    store_job,
    store_result,
)

pytestmark = pytest.mark.integration

TEN_ROWS = pa.table({"source_row": pa.array(range(10), pa.int64())})


def test_a_job_that_was_just_created_has_nothing_but_missing_chunks(
    disk_output: str, storage: Storage
) -> None:
    manifest = store_job(storage, disk_output)

    found = survey(storage, manifest)

    assert (found.results, found.dead, found.missing) == (frozenset(), {}, [0, 1, 2, 3])
    assert (found.generation, found.cancelled) == (0, False)
    assert {found.state_of(chunk) for chunk in range(4)} == {QUEUED}


def test_results_and_dead_letters_are_found_by_their_names(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output)
    store_result(storage, manifest, 0)
    store_dead_letter(storage, manifest, 2)

    found = survey(storage, manifest)

    assert [found.state_of(chunk) for chunk in range(4)] == [SUCCEEDED, QUEUED, DEAD, QUEUED]
    assert found.missing == [1, 3]


def test_a_result_wins_over_a_dead_letter(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output)
    store_dead_letter(storage, manifest, 1)
    store_result(storage, manifest, 1)

    found = survey(storage, manifest)

    assert (found.results, found.dead) == (frozenset({1}), {})
    assert tally(storage, manifest, found).rows_dead == 0


def test_a_dead_letter_counts_until_its_chunk_is_sent_again(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output)
    store_dead_letter(storage, manifest, 1)
    store_dead_letter(storage, manifest, 2)
    store_generation(storage, manifest, 1, [1])

    found = survey(storage, manifest)

    assert (found.dead, found.missing, found.generation) == ({2: 0}, [0, 1, 3], 1)


def test_a_chunk_that_died_again_counts_with_its_newest_dead_letter(
    disk_output: str, storage: Storage
) -> None:
    manifest = store_job(storage, disk_output)
    store_dead_letter(storage, manifest, 1, code="input_corrupt")
    store_generation(storage, manifest, 1, [1])
    store_dead_letter(storage, manifest, 1, generation=1, code="poison")

    found = survey(storage, manifest)

    assert found.dead == {1: 1}
    assert tally(storage, manifest, found).dead_by_code == {"poison": 1}


def test_a_dead_letter_of_a_later_generation_that_another_chunk_caused_counts(
    disk_output: str, storage: Storage
) -> None:
    """Chunk 2 was never sent again, but the job's generation had risen when it died."""
    manifest = store_job(storage, disk_output)
    store_generation(storage, manifest, 3, [1])
    store_dead_letter(storage, manifest, 2, generation=3)

    assert survey(storage, manifest).dead == {2: 3}


def test_chunks_without_a_result_are_cancelled_with_the_job(
    disk_output: str, storage: Storage
) -> None:
    manifest = store_job(storage, disk_output)
    store_result(storage, manifest, 0)
    storage.create(layout.cancelled(disk_output), b"{}")

    found = survey(storage, manifest)

    assert found.cancelled
    assert [found.state_of(chunk) for chunk in range(2)] == [SUCCEEDED, CANCELLED]


def test_objects_that_are_no_results_of_the_job_are_left_out(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output, chunks=2)
    store_result(storage, manifest, 0)
    for name in ("part-000002.parquet", "part-1.parquet", "part-000001.parquet.tmp", "notes.txt"):
        storage.create(f"{output}/{name}", b"not ours")
    storage.create(f"{output}/copy/part-000001.parquet", b"not ours")
    storage.create(f"{output}/_bulkscore/dead-letters/000009-g0.json", b"not ours")

    found = survey(storage, manifest)

    assert (found.results, found.dead, found.missing) == (frozenset({0}), {}, [1])


def test_a_tally_sums_accounts_and_dead_letters(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output)
    store_result(storage, manifest, 0, nulls=3)
    store_result(storage, manifest, 1, nulls=1, worker="w2", seconds=1.25)
    store_dead_letter(storage, manifest, 2)

    sums = tally(storage, manifest, survey(storage, manifest))

    assert (sums.rows_scored, sums.rows_error, sums.rows_dead) == (16, 4, 10)
    assert (sums.tokens, sums.truncated_rows, sums.scoring_seconds) == (140, 2, 1.75)
    assert (sums.row_errors, sums.workers) == ({"text_null": 4}, {"w1", "w2"})
    assert sums.buried == {2: Buried(rows=10, code="input_corrupt")}


def test_a_tally_of_more_results_than_are_read_at_once_is_whole(
    storage: Storage, disk_output: str
) -> None:
    manifest = store_job(storage, disk_output, chunks=1_100)
    for chunk in range(1_100):
        content = result_bytes(TEN_ROWS, account_of(chunk))
        Path(layout.result(disk_output, chunk)).write_bytes(content)

    found = survey(storage, manifest)

    assert found.missing == []
    sums = tally(storage, manifest, found)
    assert (sums.rows_scored, len(sums.results)) == (11_000, 1_100)


def test_a_tally_keeps_what_stands_for_every_byte_of_a_result(
    output: str, storage: Storage
) -> None:
    manifest = store_job(storage, output)
    for chunk in (0, 3):
        store_result(storage, manifest, chunk)

    sums = tally(storage, manifest, survey(storage, manifest))

    table = ResultTable.from_bytes(sums.results.to_bytes())
    kept = [table.footer_sha256(chunk) for chunk in range(5)]
    assert kept == [
        read_footer(storage, layout.result(output, chunk)).sha256 if chunk in (0, 3) else None
        for chunk in range(5)
    ]


def test_a_result_that_is_damaged_or_of_something_else_is_set_aside_and_named(
    output: str, storage: Storage
) -> None:
    manifest = store_job(storage, output, chunks=6)
    store_result(storage, manifest, 0)
    storage.create(layout.result(output, 1), b"PAR1 and then nothing")
    wrong: list[dict[str, Any]] = [
        {"chunk": 4},
        {"job_id": "other"},
        {"rows": 9, "rows_scored": 9},
        {"model_digest": "f"},
    ]
    for chunk, changes in enumerate(wrong, start=2):
        account = account_of(**{"chunk": chunk, **changes})
        storage.create(layout.result(output, chunk), result_bytes(TEN_ROWS, account))

    sums = tally(storage, manifest, survey(storage, manifest))

    assert (sums.rows_scored, len(sums.results)) == (10, 1)
    assert list(sums.damaged) == [1, 2, 3, 4, 5]
    for chunk, problem in sums.damaged.items():
        assert layout.result(output, chunk) in problem
    assert "10 rows of chunk 4" in sums.damaged[2]
    assert "of job other" in sums.damaged[3]
    assert "9 rows" in sums.damaged[4]


def test_a_dead_letter_that_is_damaged_is_named(disk_output: str, storage: Storage) -> None:
    manifest = store_job(storage, disk_output)
    storage.create(layout.dead_letter(disk_output, 1, 0), b"{}")

    with pytest.raises(ManifestMissing, match=r"000001-g0\.json"):
        tally(storage, manifest, survey(storage, manifest))
