"""The reconciler ends a job when all of its chunks have ended, and says what is true then."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from producer.broker import Broker
from schemas import layout
from schemas.errors import AccessDenied, StorageUnavailable
from schemas.finalize import read_summary
from schemas.job import Manifest
from schemas.ledger import Ledger
from schemas.reconciler import Pass, Reconciler
from schemas.resume import resume
from schemas.settings import ScheduleSettings
from schemas.states import JobState
from schemas.storage import Storage
from support.ledger_moves import DEAD, DENIED, QUEUED, RUNNING, SUCCEEDED, begin, halt, retry
from support.queues import waiting
from support.stored_jobs import (
    JOB,
    store_dead_letter,
    store_generation,
    store_job,
    store_result,
)

pytestmark = pytest.mark.integration

Make = Callable[..., Reconciler]


class AwayStorage(Storage):
    """The store of one output does not answer."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output

    def read(self, uri: str, **options: Any) -> bytes:
        if uri.startswith(self.output):
            raise StorageUnavailable(f"{uri}: storage does not answer")
        return super().read(uri, **options)


class DeniedStorage(Storage):
    """Everything may be looked at, nothing may be written."""

    def replace(self, uri: str, data: bytes) -> None:
        raise AccessDenied(f"{uri}: access denied")


@pytest.fixture
def make(redis_url: str, ledger: Ledger) -> Make:
    def make(storage: Storage, **settings: Any) -> Reconciler:
        return Reconciler(ledger, storage, Broker(redis_url).publish, ScheduleSettings(**settings))

    return make


def enter(storage: Storage, ledger: Ledger, output: str, *, chunks: int = 2, job_id: str = JOB):
    manifest = store_job(storage, output, chunks=chunks, job_id=job_id)
    resume(storage, ledger, manifest)
    return manifest


def finish(storage: Storage, ledger: Ledger, manifest: Manifest, chunk: int) -> None:
    account = store_result(storage, manifest, chunk, nulls=1)
    ledger.finish(manifest.job_id, chunk, account)


def bury(storage: Storage, ledger: Ledger, manifest: Manifest, chunk: int) -> None:
    letter = store_dead_letter(storage, manifest, chunk)
    ledger.bury(manifest.job_id, chunk, token="", code=letter.code, rows=letter.rows)


def test_a_job_ends_with_its_last_result(
    output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, output)
    finish(storage, ledger, manifest, 0)
    assert make(storage).run_once()[0].ended is None
    assert not storage.exists(layout.summary(output))
    finish(storage, ledger, manifest, 1)

    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED

    summary = read_summary(storage, output)
    assert (summary.rows, summary.rows_scored, summary.rows_error) == (20, 18, 2)
    assert (summary.state, summary.rows_dead, summary.rows_missing) == (JobState.SUCCEEDED, 0, 0)
    assert storage.exists(layout.success_marker(output))
    assert ledger.status(JOB).ended
    assert make(storage).run_once() == []


@pytest.mark.parametrize("last", ["running", "retrying"])
def test_a_job_does_not_end_while_a_chunk_may_still_end(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make, last: str
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    begin(ledger, 1)
    if last == "retrying":
        retry(ledger, 1)

    assert make(storage).run_once()[0].ended is None
    assert not storage.exists(layout.success_marker(disk_output))


def test_a_job_with_a_dead_chunk_fails_and_has_no_marker(
    output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, output)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 1)

    assert make(storage).run_once()[0].ended is JobState.FAILED

    summary = read_summary(storage, output)
    assert (summary.rows_dead, summary.dead_by_code) == (10, {"input_corrupt": 1})
    assert not storage.exists(layout.success_marker(output))


def test_a_late_result_ends_a_failed_job_anew(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, disk_output, chunks=1)
    bury(storage, ledger, manifest, 0)
    make(storage).run_once()

    finish(storage, ledger, manifest, 0)

    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED
    assert ledger.status(JOB).state is JobState.SUCCEEDED
    assert storage.exists(layout.success_marker(disk_output))


def test_a_result_that_comes_in_while_the_summary_is_written_is_not_forgotten(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 1)

    class SlowStorage(Storage):
        """A late attempt at the dead chunk ends just before the summary is written."""

        def replace(self, uri: str, data: bytes) -> None:
            if uri == layout.summary(disk_output):
                finish(storage, ledger, manifest, 1)
            super().replace(uri, data)

    assert make(SlowStorage()).run_once()[0].ended is None

    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED
    assert read_summary(storage, disk_output).rows_scored == 18
    assert storage.exists(layout.success_marker(disk_output))


def test_a_result_whose_writer_died_before_the_ledger_heard_of_it_is_counted(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    bury(storage, ledger, manifest, 1)
    store_result(storage, manifest, 1)

    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED

    status = ledger.status(JOB)
    assert ledger.states(JOB) == [SUCCEEDED, SUCCEEDED]
    assert (status.rows_scored, status.rows_dead, status.dead_by_code) == (19, 0, {})


def test_a_result_deleted_behind_the_ledgers_back_is_queued_again(
    output: str, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    manifest = enter(storage, ledger, output)
    finish(storage, ledger, manifest, 0)
    finish(storage, ledger, manifest, 1)
    storage.delete(layout.result(output, 0))

    assert make(storage).run_once()[0].ended is None
    make(storage).run_once()

    assert ledger.states(JOB) == [QUEUED, SUCCEEDED]
    assert [message.chunk for message in waiting(server)] == [0]
    assert not storage.exists(layout.success_marker(output))


def test_a_job_that_was_halted_ends_with_what_it_has(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    manifest = enter(storage, ledger, disk_output, chunks=3)
    finish(storage, ledger, manifest, 0)
    begin(ledger, 1)
    halt(ledger, 1, "t1")
    assert make(storage).run_once()[0].ended is None
    letter = store_dead_letter(storage, manifest, 1, code="model_incompatible")
    ledger.bury(JOB, 1, token="t1", code=letter.code, rows=letter.rows)

    assert make(storage).run_once()[0].ended is JobState.FAILED

    summary = read_summary(storage, disk_output)
    assert (summary.rows_scored, summary.rows_dead, summary.rows_missing) == (9, 10, 10)
    assert (summary.stopped_by, summary.stopped_message) == (DENIED.code, DENIED.message)
    assert ledger.states(JOB) == [SUCCEEDED, DEAD, QUEUED]
    assert waiting(server) == []


def test_a_cancelled_job_ends_when_nothing_runs_any_more(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    enter(storage, ledger, disk_output)
    begin(ledger, 0)
    storage.create(layout.cancelled(disk_output), b"{}")
    ledger.cancel(JOB)
    assert make(storage).run_once()[0].ended is None
    ledger.hand_back(JOB, 0, token="t1")

    assert make(storage).run_once()[0].ended is JobState.CANCELLED
    assert read_summary(storage, disk_output).rows_missing == 20


def test_one_jobs_trouble_stops_no_other(
    storage: Storage, ledger: Ledger, make: Make, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        manifest = enter(storage, ledger, str(tmp_path / name), chunks=1, job_id=name)
        finish(storage, ledger, manifest, 0)
    storage.delete(layout.manifest(str(tmp_path / "a")))
    away = AwayStorage(str(tmp_path / "b"))

    passes = make(away).run_once()

    ended = {made.job_id: made.ended for made in passes}
    assert ended == {"a": JobState.FAILED, "c": JobState.SUCCEEDED}
    assert "job b: " in caplog.text
    assert ledger.active() == ["b"]


def test_a_job_whose_store_is_away_is_complained_of_once(
    disk_output: str,
    storage: Storage,
    ledger: Ledger,
    make: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = enter(storage, ledger, disk_output, chunks=1)
    finish(storage, ledger, manifest, 0)
    reconciler = make(AwayStorage(disk_output))

    for _ in range(5):
        assert reconciler.run_once() == []

    assert caplog.text.count("storage does not answer") == 1
    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED


@pytest.mark.parametrize("halted", [True, False], ids=["halted", "complete"])
def test_a_job_whose_output_is_denied_ends_without_a_summary_until_it_is_resumed(
    disk_output: str,
    storage: Storage,
    ledger: Ledger,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    halted: bool,
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    if halted:
        begin(ledger, 1)
        halt(ledger, 1)
        ledger.hand_back(JOB, 1, token="t1")
    else:
        finish(storage, ledger, manifest, 1)

    assert make(DeniedStorage()).run_once()[0].ended is JobState.FAILED

    status = ledger.status(JOB)
    assert (status.ended, status.stopped_by) == (True, "access_denied")
    assert f"bulkscore resume {disk_output}" in caplog.text
    assert make(DeniedStorage()).run_once() == []
    resume(storage, ledger, manifest)
    if halted:
        assert ledger.states(JOB) == [SUCCEEDED, QUEUED]
        finish(storage, ledger, manifest, 1)
    assert make(storage).run_once()[0].ended is JobState.SUCCEEDED
    assert ledger.status(JOB).stopped_by is None
    assert storage.exists(layout.success_marker(disk_output))


def test_a_cancelled_job_whose_output_is_denied_stays_cancelled(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, disk_output)
    storage.create(layout.cancelled(disk_output), b"{}")
    ledger.cancel(JOB)

    assert make(DeniedStorage()).run_once()[0].ended is JobState.CANCELLED

    resume(storage, ledger, manifest)
    assert ledger.status(JOB).state is JobState.CANCELLED
    assert make(storage).run_once()[0].ended is JobState.CANCELLED
    assert read_summary(storage, disk_output).state is JobState.CANCELLED


def test_a_job_with_a_damaged_result_fails_and_is_not_looked_at_for_ever(
    storage: Storage, ledger: Ledger, make: Make, disk_output: str
) -> None:
    manifest = enter(storage, ledger, disk_output, chunks=2)
    for chunk in range(2):
        finish(storage, ledger, manifest, chunk)
    storage.replace(layout.result(disk_output, 1), b"damaged")

    passes = make(storage).run_once()

    assert [made.ended for made in passes] == [JobState.FAILED]
    assert ledger.active() == []
    assert read_summary(storage, disk_output).chunks_damaged == 1


@pytest.mark.parametrize("known", ["dead", "halted"])
def test_a_damaged_result_the_ledger_never_heard_of_fails_the_job_until_it_is_deleted(
    storage: Storage, ledger: Ledger, make: Make, disk_output: str, known: str
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    storage.create(layout.result(disk_output, 1), b"damaged")
    begin(ledger, 1)
    if known == "dead":
        bury(storage, ledger, manifest, 1)
    else:
        halt(ledger, 1)
        ledger.hand_back(JOB, 1, token="t1")

    assert make(storage).run_once()[0].ended is JobState.FAILED

    assert ledger.active() == []
    assert read_summary(storage, disk_output).chunks_damaged == 1
    storage.delete(layout.result(disk_output, 1))
    if known == "dead":
        store_generation(storage, manifest, 1, [1])
    resume(storage, ledger, manifest)
    assert ledger.states(JOB) == [SUCCEEDED, QUEUED]


def test_a_job_that_vanishes_during_a_pass_is_left_alone(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make, server: redis.Redis
) -> None:
    enter(storage, ledger, disk_output)
    server.delete(f"bulkscore:job:{JOB}")

    assert make(storage).run_once() == []
    assert ledger.jobs() == []


def test_several_may_end_a_job_at_once(
    disk_output: str, storage: Storage, ledger: Ledger, make: Make
) -> None:
    manifest = enter(storage, ledger, disk_output)
    finish(storage, ledger, manifest, 0)
    finish(storage, ledger, manifest, 1)
    ended: list[Pass] = []

    class SharedStorage(Storage):
        """Another reconciler ends the job just before the summary of this one is written."""

        def replace(self, uri: str, data: bytes) -> None:
            if not ended:
                ended.extend(make(storage).run_once())
            super().replace(uri, data)

    (made,) = make(SharedStorage()).run_once()

    assert made.ended is ended[0].ended is JobState.SUCCEEDED
    assert ledger.status(JOB).ended
    assert RUNNING not in ledger.states(JOB)
