"""`logs` and `show --chunk`: a chunk that died, one tried again, one whose worker vanished."""

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.states import ChunkState
from support.job_bench import JOB, JobBench, open_job_bench
from support.processes import start_cli
from support.servers import ValkeyServer
from support.waiting import wait_until

pytestmark = pytest.mark.integration

SOUND, DEAD, RETRIED, LOST = range(4)
LOGS = ("logs", JOB, "--json")


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A job that has ended, what `logs` says of it, and what it had said while it ran.

    Attributes:
        kept: Events of `logs --json` after the end.
        followed: Those of `logs --json --follow`, which left with `exit_code`.
    """

    bench: JobBench
    kept: list[dict[str, Any]]
    followed: list[dict[str, Any]]
    exit_code: int


def lines_of(stdout: str) -> list[dict[str, Any]]:
    """Return the JSON objects that were printed, a line each."""
    return [json.loads(line) for line in stdout.splitlines()]


@pytest.fixture(scope="module")
def logged(
    tmp_path_factory: pytest.TempPathFactory, bench_model: Path, valkey: ValkeyServer
) -> Iterator[Logged]:
    """A job of four chunks; `logs --follow` began when only the first had been scored."""
    valkey.empty()
    folder = tmp_path_factory.mktemp("logs")
    with open_job_bench(folder, bench_model, valkey.url, damaged=DEAD) as bench:
        submitted = bench.submit()
        assert submitted.exit_code == 0, submitted
        assert bench.worker.work(1) == ["succeeded"]
        with start_cli(*LOGS, "--follow", env=bench.env) as following:
            following.wait_for_output('"ended"')
            assert bench.worker.work(1) == ["dead"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "link", broken_disk)
                assert bench.worker.work(1) == ["retrying"]
            vanish(bench)
            with start_cli("wait", JOB, env=bench.env) as waiting:
                wait_until(lambda: ended(bench), 60, message=waiting.__str__)
            exit_code = following.wait()
            followed, kept = lines_of(following.stdout), lines_of(bench.cli(*LOGS).stdout)
        yield Logged(bench=bench, followed=followed, kept=kept, exit_code=exit_code)


def ended(bench: JobBench) -> bool:
    """Score what has come back to the queue, and say whether the job is over."""
    bench.worker.work()
    return bench.status().ended


def broken_disk(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def vanish(bench: JobBench) -> None:
    """Take a chunk as a worker whose machine is switched off does: its lease runs out."""
    message = bench.worker.take()
    assert message is not None
    assert message.chunk == LOST
    begun = bench.ledger.begin(
        JOB, LOST, token="gone", worker="gone@test", lease_ms=1, max_attempts=4
    )
    assert begun.outcome == "begun"


def story(events: list[dict[str, Any]], chunk: int) -> list[tuple[int, str]]:
    """Return each event of a chunk as its attempt and what happened to it."""
    return [
        (event["attempt"], event.get("outcome") or event["event"])
        for event in events
        if event["chunk"] == chunk
    ]


def test_the_log_as_json_tells_each_attempt_from_its_begin_to_its_end(logged: Logged) -> None:
    events = logged.kept

    assert story(events, SOUND) == [(1, "begun"), (1, "succeeded")]
    assert story(events, DEAD) == [(1, "begun"), (1, "dead")]
    assert story(events, RETRIED) == [
        (1, "begun"),
        (1, "retrying"),
        (2, "begun"),
        (2, "succeeded"),
    ]
    assert story(events, LOST) == [(1, "begun"), (1, "lost"), (2, "begun"), (2, "succeeded")]
    times = [datetime.fromisoformat(event["at"]) for event in events]
    assert times == sorted(times)


def test_following_prints_all_of_it_and_leaves_when_the_job_has_ended(logged: Logged) -> None:
    assert logged.exit_code == 0
    assert logged.followed == logged.kept


def test_a_chunk_and_a_code_narrow_the_log(logged: Logged) -> None:
    of_chunk = logged.bench.cli(*LOGS, "--chunk", str(RETRIED))
    of_code = logged.bench.cli(*LOGS, "--code", "input_corrupt")

    assert {event["chunk"] for event in lines_of(of_chunk.stdout)} == {RETRIED}
    (ended,) = lines_of(of_code.stdout)
    assert (ended["chunk"], ended["outcome"], ended["exception"]) == (DEAD, "dead", "OSError")


def test_the_log_of_a_chunk_that_the_job_has_not_is_bad_usage(logged: Logged) -> None:
    done = logged.bench.cli("logs", JOB, "--chunk", "4")

    assert done.exit_code == 2, done
    assert "0 to 3" in done.stderr


def test_a_person_reads_which_attempt_was_lost_when_and_by_which_worker(logged: Logged) -> None:
    lost = next(event for event in logged.kept if event["event"] == "lost")
    at = lost["at"][:19].replace("T", " ")

    done = logged.bench.cli("logs", JOB, "--chunk", str(LOST))
    shown = logged.bench.cli("show", JOB, "--chunk", str(LOST))

    assert f"{at}  chunk {LOST} attempt 1  lost  gone@test" in done.stdout
    attempt = shown.stdout[shown.stdout.index("attempt 1") :].split("\n\n")[0]
    assert "lost" in attempt, shown
    assert at in attempt, shown
    assert "gone@test" in attempt, shown


def test_what_is_shown_of_a_chunk_has_each_attempt_with_its_worker_and_times(
    logged: Logged,
) -> None:
    retried = logged.bench.cli("show", JOB, "--chunk", str(RETRIED), "--json").json()

    first, second = retried["attempts"]
    assert retried["state"] == ChunkState.SUCCEEDED
    assert (first["outcome"], first["code"]) == ("retrying", "storage_unavailable")
    assert (second["outcome"], second["worker"]) == ("succeeded", "hand@test")
    assert first["began_at"] < first["ended_at"] < second["began_at"] < second["ended_at"]
    assert {"read", "tokenize", "score", "write"} <= set(first["stages"])


def test_of_a_job_that_redis_has_lost_the_dead_letters_tell(
    logged: Logged, valkey: ValkeyServer
) -> None:
    valkey.empty()

    done = logged.bench.cli("logs", str(logged.bench.output), "--follow", "--json")

    (event,) = lines_of(done.stdout)
    assert done.exit_code == 0, done
    assert (event["chunk"], event["outcome"], event["code"]) == (DEAD, "dead", "input_corrupt")
    assert "not known to the ledger" in done.stderr
