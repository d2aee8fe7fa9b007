"""The end of a job: its summary adds up, and the marker stands for a complete result alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas import layout
from schemas.errors import InputMissing
from schemas.finalize import finalize, read_result_table, read_summary
from schemas.job import ErrorBudget, Manifest
from schemas.results import read_footer
from schemas.states import JobState
from schemas.storage import Storage
from schemas.summary import Summary
from schemas.survey import survey
from support.stored_jobs import store_dead_letter, store_job, store_result

pytestmark = pytest.mark.integration


def end(storage: Storage, manifest: Manifest) -> Summary:
    return finalize(storage, manifest, survey(storage, manifest))


def complete(storage: Storage, output: str, *, nulls: int = 0, budget: ErrorBudget | None = None):
    """Create a job of two chunks with all results, in each of which `nulls` rows have an error."""
    manifest = store_job(storage, output, chunks=2, max_row_errors=budget)
    for chunk in range(2):
        store_result(storage, manifest, chunk, nulls=nulls, unknown_tokens=7)
    return manifest


def test_a_complete_job_gets_its_summary_and_its_marker(output: str, storage: Storage) -> None:
    manifest = complete(storage, output, nulls=1)

    summary = end(storage, manifest)

    assert summary.state is JobState.SUCCEEDED
    assert (summary.rows, summary.rows_scored, summary.rows_error) == (20, 18, 2)
    assert (summary.rows_dead, summary.rows_missing, summary.errors) == (0, 0, {"text_null": 2})
    assert (summary.chunks_succeeded, summary.workers) == (2, ("w1",))
    assert (summary.unknown_tokens, summary.unknown_token_rate) == (14, 0.1)
    assert read_summary(storage, output) == summary
    assert storage.exists(layout.success_marker(output))


def test_a_dead_chunk_fails_the_job(disk_output: str, storage: Storage) -> None:
    manifest = store_job(storage, disk_output, chunks=2)
    store_result(storage, manifest, 0)
    store_dead_letter(storage, manifest, 1)

    summary = end(storage, manifest)

    assert summary.state is JobState.FAILED
    assert (summary.rows_scored, summary.rows_dead, summary.rows_missing) == (10, 10, 0)
    assert (summary.chunks_dead, summary.dead_by_code) == (1, {"input_corrupt": 1})
    assert not storage.exists(layout.success_marker(disk_output))


def test_rows_that_were_never_tried_are_missing(disk_output: str, storage: Storage) -> None:
    manifest = store_job(storage, disk_output, chunks=3)
    store_result(storage, manifest, 0)

    summary = end(storage, manifest)

    assert (summary.state, summary.rows_missing) == (JobState.FAILED, 20)
    assert not storage.exists(layout.success_marker(disk_output))


def test_a_cancelled_job_keeps_what_it_has(disk_output: str, storage: Storage) -> None:
    manifest = store_job(storage, disk_output, chunks=2)
    store_result(storage, manifest, 0)
    storage.create(layout.cancelled(disk_output), b"{}")

    summary = end(storage, manifest)

    assert (summary.state, summary.rows_scored) == (JobState.CANCELLED, 10)
    assert (summary.rows_missing, summary.rows_dead) == (10, 0)
    assert not storage.exists(layout.success_marker(disk_output))


def test_a_job_cancelled_after_its_last_chunk_has_succeeded(
    disk_output: str, storage: Storage
) -> None:
    manifest = complete(storage, disk_output)
    storage.create(layout.cancelled(disk_output), b"{}")

    assert end(storage, manifest).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("budget", "state"),
    [
        (ErrorBudget(count=4), JobState.SUCCEEDED),
        (ErrorBudget(count=3), JobState.FAILED),
        (ErrorBudget(percent=20), JobState.SUCCEEDED),
        (ErrorBudget(percent=19), JobState.FAILED),
    ],
    ids=["4 rows", "3 rows", "20 %", "19 %"],
)
def test_too_many_rows_with_an_error_fail_a_job_that_is_complete(
    storage: Storage, disk_output: str, budget: ErrorBudget, state: JobState
) -> None:
    manifest = complete(storage, disk_output, nulls=2, budget=budget)

    assert end(storage, manifest).state is state
    assert storage.exists(layout.success_marker(disk_output)) == (state is JobState.SUCCEEDED)


def test_results_whose_rows_do_not_add_up_fail_the_job(storage: Storage, disk_output: str) -> None:
    manifest = store_job(storage, disk_output, chunks=3)
    for chunk, rows in enumerate((9, 11, 10)):
        store_result(storage, manifest, chunk, rows=rows, rows_scored=rows)

    summary = end(storage, manifest)

    assert (summary.state, summary.rows_missing) == (JobState.FAILED, 20)
    assert (summary.chunks_succeeded, summary.chunks_damaged) == (1, 2)
    assert not storage.exists(layout.success_marker(disk_output))


def test_results_that_changed_places_fail_a_job_that_was_complete(
    storage: Storage, disk_output: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = complete(storage, disk_output)
    end(storage, manifest)
    first, second = (Path(layout.result(disk_output, chunk)) for chunk in range(2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)

    summary = end(storage, manifest)

    assert (summary.state, summary.chunks_damaged) == (JobState.FAILED, 2)
    assert not storage.exists(layout.success_marker(disk_output))
    assert f"{first} is no result of chunk 0" in caplog.text


def test_the_summary_names_the_table_of_the_results_it_counts(
    output: str, storage: Storage
) -> None:
    manifest = complete(storage, output)

    table = read_result_table(storage, output, end(storage, manifest))

    assert len(table) == 2
    for chunk in range(2):
        footer = read_footer(storage, layout.result(output, chunk))
        assert table.footer_sha256(chunk) == footer.sha256


def test_only_the_table_that_the_summary_names_is_kept(output: str, storage: Storage) -> None:
    manifest = store_job(storage, output, chunks=2)
    store_result(storage, manifest, 0)
    first = layout.result_table(output, end(storage, manifest).results_sha256)
    store_result(storage, manifest, 1)

    second = layout.result_table(output, end(storage, manifest).results_sha256)

    assert first != second
    assert not storage.exists(first)
    assert len(read_result_table(storage, output, read_summary(storage, output))) == 2
    assert storage.exists(layout.chunk_table(output, manifest.chunk_table_sha256))


def test_the_table_of_a_summary_stays_until_another_summary_is_written(
    disk_output: str, storage: Storage
) -> None:
    manifest = store_job(storage, disk_output, chunks=2)
    store_result(storage, manifest, 0)
    summary = end(storage, manifest)
    store_result(storage, manifest, 1)

    class DyingStorage(Storage):
        """The process is killed just before the new summary is written."""

        def replace(self, uri: str, data: bytes) -> None:
            if uri == layout.summary(disk_output):
                raise KeyboardInterrupt
            super().replace(uri, data)

    with pytest.raises(KeyboardInterrupt):
        end(DyingStorage(), manifest)

    assert read_summary(storage, disk_output) == summary
    assert len(read_result_table(storage, disk_output, summary)) == 1


def test_a_job_without_a_row_succeeds(disk_output: str, storage: Storage) -> None:
    manifest = store_job(storage, disk_output, chunks=0)

    assert end(storage, manifest).state is JobState.SUCCEEDED


def test_ending_a_job_twice_changes_nothing_but_the_time(
    disk_output: str, storage: Storage
) -> None:
    manifest = complete(storage, disk_output)
    first = end(storage, manifest)
    second = end(storage, manifest)

    changed = {"finished_at": second.finished_at}
    assert second == first.model_copy(update=changed) == read_summary(storage, disk_output)


def test_several_may_end_a_job_at_once(output: str, storage: Storage) -> None:
    manifest = complete(storage, output)

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(lambda _: end(storage, manifest), range(8)))

    assert {summary.state for summary in ended} == {JobState.SUCCEEDED}
    assert read_summary(storage, output) in ended


def test_the_marker_goes_when_the_result_is_no_longer_complete(
    output: str, storage: Storage
) -> None:
    manifest = complete(storage, output)
    end(storage, manifest)
    storage.delete(layout.result(output, 1))

    assert end(storage, manifest).state is JobState.FAILED
    assert not storage.exists(layout.success_marker(output))


def test_a_job_that_has_not_ended_has_no_summary(output: str, storage: Storage) -> None:
    store_job(storage, output)

    with pytest.raises(InputMissing, match=r"summary\.json"):
        read_summary(storage, output)
