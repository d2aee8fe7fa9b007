"""What is new to a collection becomes one more job in it, once; judged by the objects alone."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from producer.incremental import Created, create_increment
from producer.manifest import create_job
from producer.occasion import Occasion, occasion
from schemas import layout
from schemas.collection import job_folders
from schemas.errors import OutputTaken, UsageError
from schemas.job import JobSpec, Manifest, ModelPin
from schemas.manifest import read_chunks, read_manifest
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.stored_jobs import model_pin

pytestmark = pytest.mark.integration

MODEL = model_pin()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        corpora.write_corpus(tmp_path / "corpus" / f"{name}.parquet", rows=40, row_group_rows=10)
    return tmp_path / "corpus"


def add(corpus: Path, name: str, *, rows: int = 40) -> Path:
    return corpora.write_corpus(corpus / f"{name}.parquet", rows=rows, row_group_rows=10)


def start(
    corpus: Path,
    output: str,
    *,
    on: Occasion | None = None,
    model: ModelPin = MODEL,
    **options: Any,
) -> Created:
    asked = {"inputs": (str(corpus),), "text_column": "text", "chunk_rows": 10, **options}
    spec = JobSpec(output=output, model="models/sentiment", **asked)
    job_id = (on or occasion()).job_id(spec, model.digest)
    return create_increment(Storage(), spec, (model,), job_id=job_id)


def names(manifest: Manifest) -> list[str]:
    return [Path(file.uri).stem for file in manifest.files]


def end(job: Manifest, *, without: str = "", cancelled: bool = False) -> None:
    """Put down the objects of a job that has ended, none for the first chunk of one file."""
    storage, output = Storage(), job.spec.output
    files = read_chunks(storage, job).column("file")
    lost = [chunk for chunk in range(job.chunks) if names(job)[files[chunk]] == without][:1]
    for chunk in set(range(job.chunks)).difference(lost):
        storage.create(layout.result(output, chunk), b"rows")
    record = layout.cancelled(output) if cancelled else layout.summary(output)
    storage.create(record, b"{}")
    if not lost:
        storage.create(layout.success_marker(output), b"")


def objects(output: str) -> list[str]:
    return [found.uri for found in Storage().list_objects(output, recursive=True)]


def night(day: int) -> Occasion:
    return occasion(logical_date=f"2025-06-{day:02}")


def test_the_first_job_of_a_collection_takes_all_in_a_folder_of_its_own(
    corpus: Path, output: str
) -> None:
    created = start(corpus, output, on=night(1))

    job = created.manifest
    assert names(job) == ["a", "b"]
    assert job.spec.output == f"{output}/job={job.job_id}"
    assert read_manifest(Storage(), job.spec.output) == job
    assert created.increment
    assert (created.increment.files, created.increment.new_files) == (2, 2)


@pytest.mark.parametrize("has_ended", [True, False], ids=["ended", "under way"])
def test_the_next_job_takes_only_what_is_new(corpus: Path, output: str, has_ended: bool) -> None:
    first = start(corpus, output, on=night(1)).manifest
    if has_ended:
        end(first)
    add(corpus, "c")

    created = start(corpus, output, on=night(2))

    found = created.increment
    assert names(created.manifest) == ["c"]
    assert found
    assert (found.scored_files, found.files_under_way) == ((2, 0) if has_ended else (0, 2))
    assert created.under_way == (() if has_ended else (first,))


def test_a_file_with_other_content_is_scored_anew_and_named(corpus: Path, output: str) -> None:
    end(start(corpus, output, on=night(1)).manifest)
    changed = add(corpus, "a", rows=50)

    created = start(corpus, output, on=night(2))

    assert names(created.manifest) == ["a"]
    assert created.increment
    assert created.increment.changed_files == (str(changed),)


def test_a_file_that_changes_back_is_scored_again_because_the_last_job_speaks_for_it(
    corpus: Path, output: str
) -> None:
    path = corpus / "a.parquet"
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    end(start(corpus, output, on=night(1)).manifest)
    add(corpus, "a", rows=50)
    end(start(corpus, output, on=night(2)).manifest)
    path.write_bytes(before)
    os.utime(path, ns=(stamp, stamp))

    assert names(start(corpus, output, on=night(3)).manifest) == ["a"]


def test_nothing_new_creates_nothing_and_names_the_last_job(corpus: Path, output: str) -> None:
    end(start(corpus, output, on=night(1)).manifest)
    add(corpus, "c")
    last = start(corpus, output, on=night(2)).manifest
    end(last)
    before = objects(output)

    created = start(corpus, output, on=night(3))

    assert created.manifest == last
    assert not created.is_open
    assert created.increment
    assert (created.increment.files, created.increment.scored_files) == (0, 3)
    assert objects(output) == before


def test_nothing_new_while_a_job_is_under_way_names_that_job_as_open(
    corpus: Path, output: str
) -> None:
    first = start(corpus, output, on=night(1)).manifest
    add(corpus, "c")
    end(start(corpus, output, on=night(2)).manifest)

    created = start(corpus, output)

    assert created.manifest == first
    assert created.is_open


@pytest.mark.parametrize("cancelled", [False, True], ids=["failed", "cancelled"])
def test_files_that_an_ended_job_left_without_all_results_are_taken_again(
    corpus: Path, output: str, cancelled: bool
) -> None:
    end(start(corpus, output, on=night(1)).manifest, without="b", cancelled=cancelled)

    created = start(corpus, output, on=night(2))

    assert names(created.manifest) == ["b"]
    assert created.increment
    assert (created.increment.left_files, created.increment.scored_files) == (1, 1)


def test_a_failed_job_that_was_sent_again_is_under_way(corpus: Path, output: str) -> None:
    failed = start(corpus, output, on=night(1)).manifest
    end(failed, without="b")
    Storage().delete(layout.summary(failed.spec.output))  # as reprocess does

    created = start(corpus, output, on=night(2))

    assert created.manifest == failed
    assert created.is_open


def test_a_job_of_a_date_is_found_again_whatever_other_jobs_took_by_then(
    corpus: Path, output: str
) -> None:
    first = start(corpus, output, on=night(1)).manifest
    add(corpus, "c")
    end(start(corpus, output, on=night(2)).manifest)
    end(first)
    before = objects(output)

    again = start(corpus, output, on=night(1))

    assert again.manifest == first
    assert objects(output) == before


def test_without_a_date_what_failed_gets_another_job(corpus: Path, output: str) -> None:
    first = start(corpus, output).manifest
    end(first, without="a")
    second = start(corpus, output).manifest
    end(second, without="a")

    third = start(corpus, output).manifest

    assert names(second) == names(third) == ["a"]
    assert first.job_id < second.job_id < third.job_id


@pytest.mark.parametrize("on", [night(1), occasion()], ids=["dated", "undated"])
def test_of_submitters_at_once_one_creates_the_job_and_all_return_it(
    corpus: Path, output: str, on: Occasion
) -> None:
    barrier = threading.Barrier(4)

    def submit(_number: int) -> Created:
        barrier.wait()
        return start(corpus, output, on=on)

    with ThreadPoolExecutor(4) as submitters:
        found = list(submitters.map(submit, range(4)))

    assert len({created.manifest.job_id for created in found}) == 1
    assert len(job_folders(Storage(), output)) == 1
    tables = [uri for uri in objects(output) if uri.endswith(".table")]
    assert len(tables) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"model": MODEL.model_copy(update={"digest": "e" * 64})},
        {"text_column": "id"},
        {"id_columns": ("id",)},
        {"max_length": 64},
        {"all_scores": True},
        {"dtype": "fp16"},
        {"long_text": "windows"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_makes_other_rows_scores_all_files_anew(
    corpus: Path, disk_output: str, change: dict[str, Any]
) -> None:
    first = start(corpus, disk_output).manifest
    end(first)

    second = start(corpus, disk_output, **change).manifest

    assert names(second) == ["a", "b"]
    assert second.job_id > first.job_id


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_rows": 20},
        {"token_budget": 64},
        {"priority": "high"},
        {"max_length": 512},  # the model's own limit, spelled out
        {"skip_bad_files": True},
    ],
    ids=str,
)
def test_what_makes_the_same_rows_scores_nothing_anew(
    corpus: Path, disk_output: str, change: dict[str, Any]
) -> None:
    first = start(corpus, disk_output).manifest
    end(first)

    assert start(corpus, disk_output, **change).manifest == first


def test_bad_files_are_tried_again_and_again_and_no_error_as_long_as_others_are_scored(
    corpus: Path, disk_output: str
) -> None:
    broken = bad_corpora.write_truncated(corpus / "broken.parquet")
    first = start(corpus, disk_output, skip_bad_files=True).manifest
    end(first)

    second = start(corpus, disk_output, skip_bad_files=True)

    assert second.manifest == first
    assert second.increment
    assert [bad.uri for bad in second.increment.skipped_files] == [str(broken)]


def test_a_collection_of_nothing_but_bad_files_is_refused(tmp_path: Path, disk_output: str) -> None:
    bad_corpora.write_truncated(tmp_path / "corpus" / "broken.parquet")

    with pytest.raises(UsageError, match="all 1 files are bad"):
        start(tmp_path / "corpus", disk_output, skip_bad_files=True)


def test_an_output_that_is_one_job_or_holds_other_things_is_refused(
    corpus: Path, output: str, disk_output: str
) -> None:
    spec = JobSpec(inputs=(str(corpus),), output=output, model="m", text_column="text")
    create_job(Storage(), spec, MODEL)
    with pytest.raises(OutputTaken, match="holds a single job, made without --incremental"):
        start(corpus, output)

    Storage().create(f"{output}2/part-0.parquet", b"rows")
    with pytest.raises(OutputTaken, match=r"there is part-0\.parquet"):
        start(corpus, f"{output}2")

    Storage().create(f"{output}3/year=2024/x.parquet", b"rows")
    with pytest.raises(OutputTaken, match="there is year=2024"):
        start(corpus, f"{output}3")


def test_corpus_and_collection_lie_apart(corpus: Path, disk_output: str) -> None:
    with pytest.raises(UsageError, match="lies inside the input"):
        start(corpus, str(corpus / "scored"))

    earlier = add(Path(disk_output) / "job=1", "part-000000").parent
    with pytest.raises(UsageError, match="lies inside the output"):
        start(earlier, disk_output)


def test_what_an_interrupted_submitter_left_is_no_job(corpus: Path, output: str) -> None:
    Storage().create(f"{output}/job=000001-x/_bulkscore/chunks-0123456789ab.table", b"")

    created = start(corpus, output)

    assert names(created.manifest) == ["a", "b"]
    assert created.manifest.job_id.startswith("000001-")
