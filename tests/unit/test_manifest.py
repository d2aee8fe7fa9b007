"""Creating a job once, and refusing what would go wrong later."""

import threading
from pathlib import Path

import pytest

from producer.manifest import create_job, find_job, new_job_id
from schemas import layout
from schemas.errors import InputMissing, ManifestMissing, OutputTaken, UsageError
from schemas.job import JobSpec, Manifest
from schemas.manifest import read_chunks, read_manifest
from schemas.storage import Storage
from support import bad_corpora, corpora
from support.stored_jobs import model_pin

MODEL = model_pin()


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    corpora.write_many_files(tmp_path / "corpus", files=4)
    return JobSpec(
        inputs=(str(tmp_path / "corpus"),),
        output=str(tmp_path / "scored"),
        model="models/sentiment",
        text_column="text",
        id_columns=("id",),
        chunk_rows=15,
    )


def changed(spec: JobSpec, **changes: object) -> JobSpec:
    return spec.model_copy(update=changes)


def records(spec: JobSpec) -> list[str]:
    found = Storage().list_objects(spec.output, recursive=True)
    return [file.uri[len(spec.output) + 1 :] for file in found]


def test_a_job_is_its_manifest_and_the_chunk_table_that_it_names(spec: JobSpec) -> None:
    manifest = create_job(Storage(), spec, MODEL)

    chunks = read_chunks(Storage(), manifest)
    assert read_manifest(Storage(), spec.output) == manifest
    assert (manifest.rows, len(manifest.files), manifest.spec) == (200, 4, spec)
    assert len(chunks) == manifest.chunks > 4
    assert chunks.column("rows").sum() == 200
    assert {name.partition("-")[0] for name in records(spec)} == {
        "_bulkscore/chunks",
        "_bulkscore/manifest.json",
    }


def test_the_same_job_again_changes_nothing(spec: JobSpec) -> None:
    first = create_job(Storage(), spec, MODEL)
    before = records(spec)

    again = create_job(Storage(), spec, MODEL)
    with_id = create_job(Storage(), spec, MODEL, job_id=first.job_id)

    assert again == with_id == first
    assert records(spec) == before


def test_the_same_job_is_found_again_when_its_corpus_is_gone(spec: JobSpec, tmp_path: Path) -> None:
    first = create_job(Storage(), spec, MODEL)
    for path in (tmp_path / "corpus").rglob("*.parquet"):
        path.unlink()

    assert create_job(Storage(), spec, MODEL) == first


def test_another_spec_is_refused_and_what_differs_is_told(spec: JobSpec) -> None:
    first = create_job(Storage(), spec, MODEL)
    before = records(spec)

    with pytest.raises(OutputTaken, match="differs in chunk-rows, max-length") as caught:
        create_job(Storage(), changed(spec, chunk_rows=50, max_length=64), MODEL)

    assert first.job_id in str(caught.value)
    assert f"bulkscore resume {spec.output}" in str(caught.value)
    assert records(spec) == before


def test_another_model_or_job_id_is_refused(spec: JobSpec) -> None:
    create_job(Storage(), spec, MODEL, job_id="mine")

    with pytest.raises(OutputTaken, match="differs in model"):
        create_job(Storage(), spec, MODEL.model_copy(update={"digest": "e" * 64}))
    with pytest.raises(OutputTaken, match="mine there, yours asked for"):
        create_job(Storage(), spec, MODEL, job_id="yours")


def test_a_model_of_the_same_digest_elsewhere_is_the_same_job(spec: JobSpec) -> None:
    first = create_job(Storage(), spec, MODEL)

    moved = create_job(
        Storage(),
        changed(spec, model="s3://models/copy"),
        MODEL.model_copy(update={"ref": "s3://models/copy", "uri": "s3://models/copy"}),
    )

    assert moved == first


def test_of_submitters_at_once_one_wins_and_its_chunk_table_is_its_own(spec: JobSpec) -> None:
    outcomes: list[Manifest | OutputTaken] = []
    barrier = threading.Barrier(8)

    def submit(chunk_rows: int) -> None:
        barrier.wait()
        try:
            outcomes.append(create_job(Storage(), changed(spec, chunk_rows=chunk_rows), MODEL))
        except OutputTaken as error:
            outcomes.append(error)

    threads = [threading.Thread(target=submit, args=(rows,)) for rows in (10, 10, 20, 20) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winner = read_manifest(Storage(), spec.output)
    assert len(outcomes) == 8
    assert [o for o in outcomes if isinstance(o, Manifest)] == [winner] * 4
    assert len(read_chunks(Storage(), winner)) == winner.chunks
    assert len(records(spec)) == 2


def test_a_submit_that_broke_off_before_its_manifest_can_be_repeated(spec: JobSpec) -> None:
    create_job(Storage(), spec, MODEL)
    Storage().delete(layout.manifest(spec.output))

    manifest = create_job(Storage(), changed(spec, chunk_rows=60), MODEL)

    assert len(read_chunks(Storage(), manifest)) == manifest.chunks


@pytest.mark.parametrize(
    "name",
    [
        "part-000000.parquet",
        "notes.txt",
        "_SUCCESS",
        "deep/down/x.parquet",
        "_bulkscore/dead-letters/000000-g0.json",
        "_bulkscore/summary.json",
    ],
)
def test_an_output_that_holds_something_but_no_job_is_refused(spec: JobSpec, name: str) -> None:
    Storage().create(f"{spec.output}/{name}", b"foreign")

    with pytest.raises(OutputTaken, match=name):
        create_job(Storage(), spec, MODEL)

    assert records(spec) == [name]


def test_hidden_objects_of_others_are_in_nobodys_way(spec: JobSpec) -> None:
    Storage().create(f"{spec.output}/.DS_Store", b"")
    Storage().create(f"{spec.output}/_delta_log/0.json", b"")

    assert create_job(Storage(), spec, MODEL).rows == 200


def test_an_output_that_is_a_file_is_refused(spec: JobSpec) -> None:
    Path(spec.output).touch()

    with pytest.raises(OutputTaken, match="is a file"):
        create_job(Storage(), spec, MODEL)


def test_a_damaged_manifest_is_not_taken_for_none(spec: JobSpec) -> None:
    Storage().create(layout.manifest(spec.output), b"{}")

    with pytest.raises(ManifestMissing, match="damaged"):
        create_job(Storage(), spec, MODEL)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("corpus", "corpus/scored"),
        ("corpus", "corpus"),
        ("corpus/", "corpus/deep/scored"),
        ("corpus/**/*.parquet", "corpus/scored"),
        ("corpus/*/*.parquet", "corpus/scored"),
        ("corpus/**", "corpus/scored"),
        ("corpus/scored/**/*.parquet", "corpus/scored"),
        ("link", "corpus/scored"),
        ("corpus/day=0", "corpus"),
        ("corpus/day=0/*.parquet", "corpus"),
        ("corpus/day=0/0000.parquet", "corpus/day=0"),
    ],
)
def test_output_and_input_must_not_lie_in_each_other(
    spec: JobSpec, tmp_path: Path, given: str, output: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    before = sorted((tmp_path / "corpus").rglob("*"))
    overlapping = changed(spec, inputs=(f"{tmp_path}/{given}",), output=f"{tmp_path}/{output}")

    with pytest.raises(UsageError, match="lies inside"):
        create_job(Storage(), overlapping, MODEL)

    assert sorted((tmp_path / "corpus").rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("corpus", "corpus-scored"),
        ("corpus", "corpus/_scored"),
        ("corpus/day=0/*.parquet", "corpus/scored"),
        ("corpus/*/0*.parquet", "corpus/scored"),
    ],
)
def test_an_output_beside_or_hidden_from_the_input_is_fine(
    spec: JobSpec, tmp_path: Path, given: str, output: str
) -> None:
    apart = changed(spec, inputs=(f"{tmp_path}/{given}",), output=f"{tmp_path}/{output}")

    manifest = create_job(Storage(), apart, MODEL)

    assert manifest.rows > 0


def test_bad_files_that_are_left_out_stand_in_the_manifest(spec: JobSpec, tmp_path: Path) -> None:
    bad = bad_corpora.write_truncated(tmp_path / "corpus" / "bad.parquet")

    manifest = create_job(Storage(), changed(spec, skip_bad_files=True), MODEL)

    assert [skipped.uri for skipped in manifest.skipped] == [str(bad)]
    assert manifest.rows == 200


def test_a_corpus_without_a_row_is_a_job_without_a_chunk(spec: JobSpec, tmp_path: Path) -> None:
    empty = corpora.write_no_rows(tmp_path / "empty.parquet")

    manifest = create_job(Storage(), changed(spec, inputs=(str(empty),)), MODEL)

    assert (manifest.rows, manifest.chunks, len(read_chunks(Storage(), manifest))) == (0, 0, 0)


def test_nothing_is_created_when_the_corpus_is_bad(spec: JobSpec, tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        create_job(Storage(), changed(spec, inputs=(str(tmp_path / "nowhere"),)), MODEL)

    assert not Path(spec.output).exists()


@pytest.mark.parametrize("job_id", ["", "Upper", "a b", "-x", "x" * 64])
def test_a_malformed_job_id_is_refused(spec: JobSpec, job_id: str) -> None:
    with pytest.raises(UsageError, match="job id"):
        create_job(Storage(), spec, MODEL, job_id=job_id)


def test_made_up_job_ids_are_valid_differ_and_sort_by_time(spec: JobSpec) -> None:
    first, second = new_job_id(), new_job_id()

    assert first != second
    assert first[:15] <= second[:15]
    assert create_job(Storage(), spec, MODEL, job_id=first).job_id == first


def test_an_empty_output_holds_no_job(tmp_path: Path) -> None:
    assert find_job(Storage(), str(tmp_path)) is None


def test_a_result_that_was_moved_is_the_job_where_it_lies_now(
    spec: JobSpec, tmp_path: Path
) -> None:
    create_job(Storage(), spec, MODEL)
    moved = tmp_path / "moved"
    Path(spec.output).rename(moved)

    manifest = read_manifest(Storage(), str(moved))

    assert manifest.spec.output == str(moved)
    assert len(read_chunks(Storage(), manifest)) == manifest.chunks


def test_a_job_of_its_own_is_refused_where_jobs_are_collected(spec: JobSpec) -> None:
    inside = changed(spec, output=layout.job_folder(spec.output, "night-1"))
    create_job(Storage(), inside, MODEL, job_id="night-1")
    before = records(spec)

    with pytest.raises(OutputTaken, match="collection of jobs made with --incremental"):
        create_job(Storage(), spec, MODEL)

    assert records(spec) == before
