"""Jobs of a schedule through the command line: started twice, night after night, on S3 and disk."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.dataset as ds
import pytest

from producer.sample import damage_text_page
from support.corpora import make_table, write_corpus, write_table
from support.job_bench import JobBench
from support.models import tiny_model
from support.processes import CompletedCli, run_cli
from support.s3 import S3Bucket
from support.texts import ordinary_texts

pytestmark = pytest.mark.integration


def submit(bench: JobBench, *options: str, output: Path | None = None) -> CompletedCli:
    place = str(output or bench.output)
    return bench.cli("submit", *bench.scoring, "--output", place, *options)


def night(bench: JobBench, day: int, *options: str) -> CompletedCli:
    """Submit the job of one night, and score it."""
    date = f"2025-06-{day:02}"
    done = submit(bench, "--incremental", "--logical-date", date, "--json", *options)
    bench.worker.work()
    bench.cli("reconcile")
    return done


def files_of(job_folder: str) -> set[str]:
    """Return the names of the files that a job has rows of."""
    table = ds.dataset(job_folder, format="parquet").to_table(columns=["source_file"])
    return {Path(uri).stem for uri in table["source_file"].to_pylist()}


def newest_rows(output: Path) -> list[tuple[str, int]]:
    """Read a collection as the docs advise: of each file, the rows of the last job."""
    rows = pl.scan_parquet(f"{output}/job=*/*.parquet", hive_partitioning=True)
    newest = rows.filter(pl.col("job") == pl.col("job").max().over("source_file")).collect()
    return sorted((Path(row["source_file"]).stem, row["source_row"]) for row in newest.to_dicts())


def test_a_job_of_a_date_is_one_however_often_it_is_started(job_bench: JobBench) -> None:
    first = submit(job_bench, "--logical-date", "2025-06-01")
    job_bench.worker.work()
    job_bench.cli("reconcile")

    second = submit(job_bench, "--logical-date", "20250601")

    assert (first.exit_code, second.exit_code) == (0, 0), f"{first}\n{second}"
    assert second.stdout == first.stdout
    assert first.stdout.startswith("2025-06-01-")
    assert "100 rows in 4 chunks, 0 to score" in second.stderr
    assert len(job_bench.ledger.jobs()) == 1


def test_a_date_gives_each_night_a_fresh_output_and_its_own_input(job_bench: JobBench) -> None:
    for day in (1, 2):
        table = make_table(ordinary_texts(10 * day))
        write_table(job_bench.folder / f"in/2025-06-0{day}/x.parquet", table)

    done = [
        job_bench.cli(
            *("submit", "--input", f"{job_bench.folder}/in/{{logical_date}}"),
            *("--output", f"{job_bench.folder}/out/{{logical_date}}"),
            *("--model", str(job_bench.model), "--text-column", "text"),
            *("--logical-date", f"2025-06-0{day}", "--json"),
        ).json()
        for day in (1, 2)
    ]

    assert [job["rows"] for job in done] == [10, 20]
    assert [Path(job["output"]).name for job in done] == ["2025-06-01", "2025-06-02"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--logical-date", "2025-06-01", "--job-id", "mine"), "leave out --job-id"),
        (("--logical-date", "yesterday"), "give a date such as"),
        (("--output", "{logical_date}"), "--logical-date DATE"),
    ],
    ids=["two names", "no date", "no date to fill in"],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    job_bench: JobBench, options: tuple[str, ...], says: str
) -> None:
    done = submit(job_bench, *options)

    assert done.exit_code == 2, done
    assert says in done.stderr
    assert not job_bench.output.exists()


def test_night_after_night_only_what_is_new_is_scored(job_bench: JobBench) -> None:
    corpus, output = job_bench.corpus, job_bench.output
    night(job_bench, 1)
    write_corpus(corpus / "4.parquet", rows=25)
    write_corpus(corpus / "0.parquet", rows=30, seed=7)

    second = night(job_bench, 2)
    again = night(job_bench, 2)
    nothing = night(job_bench, 3)

    job = second.json()
    increment = job["increment"]
    assert files_of(job["output"]) == {"0", "4"}
    assert (increment["files"], increment["new_files"], increment["scored_files"]) == (2, 1, 3)
    assert increment["changed_files"] == [str(corpus / "0.parquet")]
    assert "2 files to score (1 new, 1 changed); passed over: 3 files scored already" in (
        second.stderr
    )
    assert "changed: 1 file, of which earlier jobs hold rows that no longer count" in second.stderr
    assert again.json()["job_id"] == nothing.json()["job_id"] == job["job_id"]
    assert (nothing.exit_code, nothing.json()["rows"]) == (0, 0), nothing
    assert nothing.json()["increment"]["scored_files"] == 5
    assert "nothing new: 5 files scored already" in nothing.stderr
    assert len(list(output.iterdir())) == 2
    expected = {"0": 30, "1": 25, "2": 25, "3": 25, "4": 25}
    rows = [(name, row) for name, count in expected.items() for row in range(count)]
    assert newest_rows(output) == rows


def test_a_new_model_scores_all_files_anew(job_bench: JobBench) -> None:
    first = night(job_bench, 1).json()
    other = tiny_model(job_bench.folder / "other", seed=5)

    second = night(job_bench, 2, "--model", str(other)).json()

    assert second["rows"] == first["rows"] == 100
    assert second["increment"]["scored_files"] == 0


def test_a_file_of_a_failed_job_is_scored_again_and_its_neighbours_are_not(
    job_bench: JobBench,
) -> None:
    table = make_table(ordinary_texts(25))
    path = write_table(
        job_bench.corpus / "0.parquet", table, use_dictionary=False, write_page_checksum=True
    )
    sound, status = path.read_bytes(), path.stat()
    damage_text_page(path)
    failed = night(job_bench, 1).json()
    path.write_bytes(sound)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    second = night(job_bench, 2).json()

    assert not (Path(failed["output"]) / "_SUCCESS").exists()
    assert files_of(second["output"]) == {"0"}
    assert (second["increment"]["left_files"], second["increment"]["scored_files"]) == (1, 3)


def test_pods_that_start_at_once_are_one_job(job_bench: JobBench) -> None:
    words = ("submit", *job_bench.scoring, "--output", str(job_bench.output), "--incremental")

    def start(_number: int) -> CompletedCli:
        return run_cli(*words, "--logical-date", "2025-06-01", env=job_bench.env)

    with ThreadPoolExecutor(3) as pods:
        done = list(pods.map(start, range(3)))

    assert [pod.exit_code for pod in done] == [0, 0, 0], done
    assert len({pod.stdout for pod in done}) == 1
    assert len(job_bench.ledger.jobs()) == 1
    assert job_bench.ledger.queue_length("normal") == 4


def test_waiting_for_nothing_new_comes_back_at_once(job_bench: JobBench) -> None:
    night(job_bench, 1)

    done = submit(job_bench, "--incremental", "--wait", "--json")

    assert (done.exit_code, done.json()["rows"]) == (0, 0), done


def test_a_job_whose_submitter_died_before_it_was_queued_is_taken_up_by_the_next(
    job_bench: JobBench,
) -> None:
    lost = submit(job_bench, "--incremental", "--logical-date", "2025-06-01").stdout.strip()
    job_bench.worker.work(most=1)
    job_bench.ledger.forget(lost)
    while job_bench.worker.take():
        pass
    write_corpus(job_bench.corpus / "4.parquet", rows=25)

    done = submit(job_bench, "--incremental", "--logical-date", "2025-06-02")

    assert job_bench.ledger.jobs() == [lost, done.stdout.strip()]
    assert job_bench.ledger.queue_length("normal") == 3 + 1


@pytest.mark.slow
def test_a_run_completes_what_is_under_way_before_what_is_new(job_bench: JobBench) -> None:
    env = {
        "XDG_STATE_HOME": str(job_bench.folder / "state"),
        "BULKSCORE_MODEL_CACHE_DIR": str(job_bench.folder / "models"),
        "BULKSCORE_TORCH_THREADS": "1",
    }
    unfinished = submit(job_bench, "--incremental", "--logical-date", "2025-06-01", "--json").json()
    write_corpus(job_bench.corpus / "4.parquet", rows=25)
    run = ["run", *job_bench.scoring, "--output", str(job_bench.output), "--incremental"]

    done = run_cli(*run, "--logical-date", "2025-06-02", "--json", env=env)
    nothing = run_cli(*run, "--json", env=env)

    assert (done.exit_code, done.json()["rows"]) == (0, 25), done
    assert (Path(unfinished["output"]) / "_SUCCESS").exists()
    assert f"job {unfinished['job_id']} was not finished, it comes first" in done.stderr
    assert "1 file to score (1 new, 0 changed)" in done.stderr
    assert (nothing.exit_code, nothing.json()["job_id"]) == (0, done.json()["job_id"]), nothing
    assert nothing.json()["increment"]["scored_files"] == 5


@pytest.mark.parametrize("command", ["show", "verify", "report", "resume"])
def test_a_command_that_is_given_the_collection_names_the_jobs_in_it(
    job_bench: JobBench, command: str
) -> None:
    job = submit(job_bench, "--incremental").stdout.strip()

    done = job_bench.cli(command, str(job_bench.output))

    assert done.exit_code == 2, done
    assert f"name one of them instead: {job_bench.output}/job={job}" in done.stderr


def test_collections_and_single_jobs_are_kept_apart(job_bench: JobBench) -> None:
    submit(job_bench, "--incremental")
    single = job_bench.folder / "single"
    submit(job_bench, output=single)

    plain = submit(job_bench)
    collected = submit(job_bench, "--incremental", output=single)

    assert (plain.exit_code, collected.exit_code) == (2, 2), f"{plain}\n{collected}"
    assert "collection of jobs made with --incremental" in plain.stderr
    assert "holds a single job" in collected.stderr


def test_a_job_id_names_the_folder_of_an_increment(job_bench: JobBench) -> None:
    done = submit(job_bench, "--incremental", "--job-id", "by-hand", "--json")
    elsewhere = submit(
        job_bench, "--incremental", "--job-id", "by-hand", output=job_bench.folder / "elsewhere"
    )

    assert done.json()["output"] == f"{job_bench.output}/job=by-hand"
    assert elsewhere.exit_code == 2, elsewhere
    assert "error [output_taken]" in elsewhere.stderr


def test_nights_on_s3_go_the_same_way(
    job_bench: JobBench, s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_bucket.env.items():
        monkeypatch.setenv(name, value)

    def start(day: int) -> Any:
        return job_bench.cli(
            *("submit", "--input", s3_bucket.key_uri("corpus")),
            *("--output", s3_bucket.key_uri("scored"), "--model", str(job_bench.model)),
            *("--text-column", "text", "--incremental", "--logical-date", f"2025-06-0{day}"),
            "--json",
        ).json()

    files = s3_bucket.filesystem()
    files.put(f"{job_bench.corpus}/0.parquet", s3_bucket.key_uri("corpus/0.parquet"))
    files.put(f"{job_bench.corpus}/1.parquet", s3_bucket.key_uri("corpus/1.parquet"))
    first = start(1)
    files.put(f"{job_bench.corpus}/2.parquet", s3_bucket.key_uri("corpus/2.parquet"))
    files.put(f"{job_bench.corpus}/3.parquet", s3_bucket.key_uri("corpus/1.parquet"))

    second, again = start(2), start(2)

    assert (first["rows"], second["rows"]) == (50, 50)
    assert second["increment"]["files_under_way"] == 1
    assert second["increment"]["changed_files"] == [s3_bucket.key_uri("corpus/1.parquet")]
    assert again["job_id"] == second["job_id"]
    assert first["output"] == s3_bucket.key_uri(f"scored/job={first['job_id']}")
