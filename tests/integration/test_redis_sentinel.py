"""Redis behind sentinels: the primary is lost in the midst of a job, and the job ends."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from producer.verify import verify
from schemas.errors import BrokerUnavailable
from schemas.finalize import read_summary
from schemas.ledger import Ledger
from schemas.settings import BrokerSettings
from schemas.states import ChunkState, JobState
from schemas.storage import Storage
from support.corpora import make_table, write_table
from support.processes import run_cli, start_command
from support.sentinel import WatchedRedis
from support.texts import distinct_texts
from support.waiting import wait_until

pytestmark = pytest.mark.integration

CHUNKS = 6
ROWS = 300 * CHUNKS
SECONDS = 120.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedRedis]:
    with WatchedRedis(tmp_path_factory.mktemp("sentinel")) as servers:
        yield servers


def test_a_name_that_the_sentinels_do_not_know_and_a_wrong_login_are_told(
    watched: WatchedRedis,
) -> None:
    unknown = watched.url(master_name="nobody")
    with pytest.raises(BrokerUnavailable, match="No master found for 'nobody'"):
        Ledger(BrokerSettings(redis_url=unknown)).ping()
    stranger = watched.url().replace("worker:of-the-data", "worker:wrong")
    with pytest.raises(BrokerUnavailable, match="refuses the login") as refused:
        Ledger(BrokerSettings(redis_url=stranger)).ping()
    assert "of-the-sentinels" not in str(refused.value)


@pytest.mark.slow  # the faults of `test_redis_faults` go the same way
def test_a_job_ends_whole_although_the_primary_is_killed_in_its_midst(
    watched: WatchedRedis, bench_model: Path, tmp_path: Path
) -> None:
    corpus, output = tmp_path / "corpus.parquet", tmp_path / "scored"
    write_table(corpus, make_table(distinct_texts(ROWS)), row_group_rows=ROWS // CHUNKS)
    env = {
        "BULKSCORE_REDIS_URL": watched.url(),
        "BULKSCORE_LEASE_SECONDS": "3",
        "BULKSCORE_ENQUEUE_GRACE_SECONDS": "2",
        "BULKSCORE_VISIBILITY_SECONDS": "3",
    }
    ledger, job = Ledger(BrokerSettings(redis_url=watched.url())), "failover"

    def succeeded() -> int:
        return ledger.status(job).chunks[ChunkState.SUCCEEDED]

    command = [sys.executable, "-P", "-m", "worker", "--device", "cpu"]
    with start_command(command, env=env) as worker:
        submitted = run_cli(
            *("submit", "-i", str(corpus), "-o", str(output), "-m", str(bench_model)),
            *("--text-column", "text", "--id-column", "id", "--job-id", job),
            *("--chunk-rows", str(ROWS // CHUNKS), "--token-budget", "1"),
            env=env,
        )
        assert submitted.exit_code == 0, submitted
        wait_until(lambda: succeeded() > 0, SECONDS, interval=0.05)
        assert succeeded() < CHUNKS, "the job was over before the fault: make it longer"
        watched.primary.kill()
        ended = partial(Storage().exists, f"{output}/_SUCCESS")
        wait_until(ended, SECONDS, message=lambda: str(worker))

    storage = Storage()
    summary, report = read_summary(storage, str(output)), verify(storage, str(output))
    assert watched.primary_port() == watched.replica.port
    assert (summary.state, summary.rows_scored) == (JobState.SUCCEEDED, ROWS)
    assert (report.sound, report.complete, report.findings) == (True, True, ())
