"""The ledger is brought in step with the object store, from nothing and from any difference."""

from typing import Any

import pytest
import redis

from schemas import layout
from schemas.errors import OutputTaken
from schemas.finalize import finalize
from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.results import ResultAccount
from schemas.resume import Resumed, resume
from schemas.states import JobState
from schemas.storage import Storage
from schemas.survey import survey
from support.ledger_moves import (
    CANCELLED,
    DEAD,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    begin,
    claim,
    contents,
    halt,
    retry,
)
from support.stored_jobs import (
    JOB,
    store_dead_letter,
    store_generation,
    store_job,
    store_result,
)

pytestmark = pytest.mark.integration


def finish(storage: Storage, ledger: Ledger, manifest: Manifest, chunk: int) -> ResultAccount:
    account = store_result(storage, manifest, chunk, nulls=1)
    ledger.finish(manifest.job_id, chunk, account)
    return account


def bury(storage: Storage, ledger: Ledger, manifest: Manifest, chunk: int) -> None:
    letter = store_dead_letter(storage, manifest, chunk)
    ledger.bury(manifest.job_id, chunk, token="", code=letter.code, rows=letter.rows)


def account_of_job(ledger: Ledger, server: redis.Redis) -> dict[str, Any]:
    """Return what must survive: states, counters, codes; not attempts, times or the cursor."""
    kept: dict[str, Any] = contents(server)
    job = {k: v for k, v in kept[f"bulkscore:job:{JOB}"].items() if k not in ("opened", "cursor")}
    codes = {k: v for k, v in kept.get(f"bulkscore:codes:{JOB}", {}).items() if v != "0"}
    return {"job": job, "codes": codes, "states": ledger.states(JOB)}


def test_a_new_job_is_entered_with_all_its_chunks(
    disk_output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, disk_output, priority="high")

    assert resume(storage, ledger, manifest) == Resumed(
        restored=True, succeeded=0, dead=0, pending=4
    )

    status = ledger.status(JOB)
    assert (status.output, status.priority, status.rows) == (disk_output, "high", 40)
    assert ledger.states(JOB) == [QUEUED] * 4


def test_a_ledger_restored_from_nothing_equals_the_one_that_was_lost(
    output: str, storage: Storage, ledger: Ledger, server: redis.Redis
) -> None:
    manifest = store_job(storage, output, chunks=6)
    resume(storage, ledger, manifest)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 1)
    bury(storage, ledger, manifest, 2)
    store_generation(storage, manifest, 1, [2])
    ledger.reopen(JOB, [2], generation=1)
    finish(storage, ledger, manifest, 2)
    finish(storage, ledger, manifest, 4)
    before = account_of_job(ledger, server)
    server.flushall()

    assert resume(storage, ledger, manifest) == Resumed(
        restored=True, succeeded=3, dead=1, pending=2
    )

    assert account_of_job(ledger, server) == before
    assert claim(ledger) == [3, 5]


def test_resuming_a_job_that_goes_well_changes_nothing(
    disk_output: str, storage: Storage, ledger: Ledger, server: redis.Redis
) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    claim(ledger, 3)
    begin(ledger, 1)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 2)
    before = contents(server)

    assert not resume(storage, ledger, manifest).restored

    assert contents(server) == before
    assert ledger.state_of(JOB, 1) is RUNNING


def test_a_result_the_ledger_never_heard_of_is_counted(
    output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, output)
    resume(storage, ledger, manifest)
    begin(ledger, 1)
    store_result(storage, manifest, 1, nulls=2)

    resume(storage, ledger, manifest)

    status = ledger.status(JOB)
    assert ledger.state_of(JOB, 1) is SUCCEEDED
    assert (status.rows_scored, status.row_errors) == (8, {"text_null": 2})


def test_a_dead_letter_the_ledger_never_heard_of_is_counted(
    disk_output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    begin(ledger, 1)
    retry(ledger, 1)
    store_dead_letter(storage, manifest, 0)
    store_dead_letter(storage, manifest, 1)

    resume(storage, ledger, manifest)

    assert ledger.states(JOB)[:2] == [DEAD, DEAD]
    assert ledger.status(JOB).dead_by_code == {"input_corrupt": 2}


def test_a_running_chunk_is_not_buried_by_an_old_dead_letter(
    disk_output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    begin(ledger, 1)
    store_dead_letter(storage, manifest, 1)

    resume(storage, ledger, manifest)

    assert ledger.state_of(JOB, 1) is RUNNING


def test_a_result_deleted_behind_the_ledgers_back_is_queued_again(
    output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, output, chunks=2)
    resume(storage, ledger, manifest)
    finish(storage, ledger, manifest, 0)
    finish(storage, ledger, manifest, 1)
    storage.create(layout.success_marker(output), b"")
    storage.delete(layout.result(output, 1))

    assert resume(storage, ledger, manifest).pending == 1

    status = ledger.status(JOB)
    assert (ledger.states(JOB), status.rows_scored) == ([SUCCEEDED, QUEUED], 9)
    assert claim(ledger) == [1]
    assert not storage.exists(layout.success_marker(output))


def test_a_dead_letter_taken_away_by_hand_sends_its_chunk_again(
    disk_output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    bury(storage, ledger, manifest, 2)
    storage.delete(layout.dead_letter(disk_output, 2, 0))

    resume(storage, ledger, manifest)

    assert ledger.states(JOB) == [QUEUED] * 4
    assert ledger.status(JOB).rows_dead == 0


def test_a_reprocess_that_died_before_the_ledger_heard_of_it_is_carried_out(
    output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, output, chunks=2)
    resume(storage, ledger, manifest)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 1)
    ledger.close(JOB, JobState.FAILED, succeeded=1)
    store_generation(storage, manifest, 1, [1])

    resume(storage, ledger, manifest)

    status = ledger.status(JOB)
    assert (status.state, status.generation, status.rows_dead) == (JobState.RUNNING, 1, 0)
    assert claim(ledger) == [1]


def test_a_job_that_was_halted_goes_on(disk_output: str, storage: Storage, ledger: Ledger) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    claim(ledger)
    begin(ledger, 0)
    halt(ledger, 0, "t1")
    ledger.hand_back(JOB, 0, token="t1")

    resume(storage, ledger, manifest)

    assert ledger.status(JOB).state is JobState.RUNNING
    assert sorted(claim(ledger)) == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["summary gone", "summary damaged", "table gone"])
def test_a_job_that_has_ended_without_a_sound_summary_ends_anew(
    output: str, storage: Storage, ledger: Ledger, damage: str
) -> None:
    manifest = store_job(storage, output, chunks=1)
    resume(storage, ledger, manifest)
    finish(storage, ledger, manifest, 0)
    summary = finalize(storage, manifest, survey(storage, manifest))
    ledger.close(JOB, JobState.SUCCEEDED, succeeded=1)
    resume(storage, ledger, manifest)
    assert ledger.active() == []
    if damage == "summary gone":
        storage.delete(layout.summary(output))
    elif damage == "summary damaged":
        storage.replace(layout.summary(output), b"{")
    else:
        storage.delete(layout.result_table(output, summary.results_sha256))

    resume(storage, ledger, manifest)

    assert ledger.active() == [JOB]
    assert ledger.states(JOB) == [SUCCEEDED]
    assert ledger.status(JOB).rows_scored == 9


@pytest.mark.parametrize("lost", [False, True], ids=["known", "lost"])
def test_a_cancelled_job_stays_cancelled(
    output: str, storage: Storage, ledger: Ledger, server: redis.Redis, lost: bool
) -> None:
    manifest = store_job(storage, output)
    resume(storage, ledger, manifest)
    finish(storage, ledger, manifest, 0)
    storage.create(layout.cancelled(output), b"{}")
    if lost:
        server.flushall()

    assert resume(storage, ledger, manifest).pending == 0

    assert ledger.status(JOB).state is JobState.CANCELLED
    assert ledger.states(JOB) == [SUCCEEDED, CANCELLED, CANCELLED, CANCELLED]
    assert claim(ledger) == []


def test_a_cancelled_job_whose_marker_is_taken_away_goes_on(
    disk_output: str, storage: Storage, ledger: Ledger
) -> None:
    manifest = store_job(storage, disk_output)
    resume(storage, ledger, manifest)
    ledger.cancel(JOB)

    assert resume(storage, ledger, manifest).pending == 4

    assert ledger.status(JOB).state is JobState.RUNNING
    assert claim(ledger) == [0, 1, 2, 3]


def test_a_job_of_the_same_name_with_another_output_is_refused(
    storage: Storage, ledger: Ledger, tmp_path
) -> None:
    resume(storage, ledger, store_job(storage, str(tmp_path / "one")))
    second = store_job(storage, str(tmp_path / "two"))

    with pytest.raises(OutputTaken, match="two"):
        resume(storage, ledger, second)
