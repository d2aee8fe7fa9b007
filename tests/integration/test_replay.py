"""`bulkscore replay`: a chunk is scored again on this machine, its job is left alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from schemas.chunks import Chunk
from schemas.errors import UsageError
from support.job_bench import JOB, JobBench, open_job_bench
from support.processes import run_cli
from support.servers import ValkeyServer
from support.texts import ordinary_texts
from worker.replay import narrowed

pytestmark = pytest.mark.integration

SOUND, DEAD = 0, 1
ROWS = 70


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, bench_model: Path, valkey: ValkeyServer
) -> Iterator[JobBench]:
    """A job whose first chunk has a result, one with blank rows, and whose second one died."""
    valkey.empty()
    folder = tmp_path_factory.mktemp("replay")
    texts: list[str | None] = list(ordinary_texts(ROWS))
    texts[3:8] = [None, " ", " ", None, " "]
    with open_job_bench(
        folder, bench_model, valkey.url, texts=texts, files=2, damaged=DEAD
    ) as bench:
        submitted = bench.submit("--chunk-rows", "100")
        assert submitted.exit_code == 0, submitted
        assert bench.worker.work() == ["succeeded", "dead"]
        yield bench


def state(bench: JobBench) -> dict[str, bytes | None]:
    """Return every object of the job and every key on Redis with what it holds."""
    objects = {str(p): p.read_bytes() for p in bench.output.rglob("*") if p.is_file()}
    with redis.Redis.from_url(bench.redis_url) as client:
        kept = {key.decode(): client.dump(key) for key in client.scan_iter()}
    return {**objects, **kept}


def test_rows_of_a_chunk_are_scored_in_pieces_that_are_said_first_and_nothing_is_kept(
    bench: JobBench,
) -> None:
    before = state(bench)

    done = run_cli(
        "replay",
        JOB,
        "--chunk",
        str(SOUND),
        "--rows",
        "2:66",
        "--careful",
        "--device",
        "cpu",
        env=bench.env,
    )

    assert done.exit_code == 0, done
    assert f"chunk 0: rows 2 to 65 of {bench.corpus / '0.parquet'}" in done.stdout
    assert "scored 59 of 64 rows on cpu" in done.stdout
    assert "3 text_blank: rows 4, 5, 7" in done.stdout
    assert "2 text_null: rows 3, 6" in done.stdout
    assert re.search(r"read [\d.]+ s; tokenize [\d.]+ s; score [\d.]+ s; write", done.stdout), done
    said = [line for line in done.stderr.splitlines() if "rows" in line]
    assert said == [
        "reading rows 2 to 65",
        "reading row group 0, rows 2 to 65",
        "scoring rows 2 to 33",
        "reading row group 0, rows 34 to 65",
        "scoring rows 34 to 65",
    ], done
    assert state(bench) == before


@pytest.mark.slow
def test_a_dead_chunk_dies_here_too_and_verbatim_shows_the_error_as_it_was_raised(
    bench: JobBench,
) -> None:
    before = state(bench)

    done = run_cli(
        "replay",
        str(bench.output),
        "--chunk",
        str(DEAD),
        "--verbatim",
        "--device",
        "cpu",
        env=bench.env,
    )

    assert done.exit_code == 3, done
    assert "failed [input_corrupt]" in done.stdout
    assert "Traceback (most recent call last)" in done.stdout
    assert "\nOSError: " in done.stdout
    assert state(bench) == before


@pytest.mark.parametrize(
    "rows", ["1:5", "10:31", "15:15", "20:15", "15", "a:b", "-1:20", "1²:20", ""]
)
def test_rows_that_the_chunk_has_not_are_refused_with_those_that_it_has(rows: str) -> None:
    chunk = Chunk(index=0, file=0, row_start=10, rows=20, text_bytes=1)

    with pytest.raises(UsageError, match="A:B within 10:30"):
        narrowed(chunk, rows)

    assert narrowed(chunk, "15:30") == Chunk(index=0, file=0, row_start=15, rows=15, text_bytes=1)
