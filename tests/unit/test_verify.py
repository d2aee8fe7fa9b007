"""Recounting results: every way in which a result can be wrong is found and named."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from producer.findings import KEPT_PER_KIND, FindingKind
from producer.manifest import create_job
from producer.record_check import check_counted, read_counted
from producer.result_check import check_result
from producer.row_check import row_ranges
from producer.span_check import CHUNKS_PER_SPAN
from producer.verify import VerifyReport, verify
from schemas import layout
from schemas.dead_letter import DeadLetter
from schemas.errors import ManifestMissing
from schemas.finalize import finalize
from schemas.generation import Generation
from schemas.job import ErrorBudget, JobSpec, Manifest
from schemas.manifest import read_chunks
from schemas.results import ResultAccount, read_account, result_schema, split_result
from schemas.storage import Storage
from schemas.survey import survey
from support import corpora
from support.stored_jobs import model_pin, result_bytes

Change = Callable[[dict[str, list[Any]]], None]
MODEL = model_pin()
ROWS_PER_FILE = 50


class Job:
    """A job of 3 files of 50 rows in chunks of 10, whose results the test writes."""

    def __init__(self, folder: Path, *, rows: int = ROWS_PER_FILE, **spec: Any) -> None:
        self.storage = Storage()
        self.corpus = [
            corpora.write_table(
                folder / "corpus" / f"{number}.parquet",
                corpora.make_table(["one text"] * rows, first_id=number * rows),
                row_group_rows=30,
                use_dictionary=False,
            )
            for number in range(3)
        ]
        self.output = str(folder / "scored")
        job = JobSpec(
            inputs=(str(folder / "corpus"),),
            output=self.output,
            model="models/sentiment",
            text_column="text",
            **{"id_columns": ("id",), "chunk_rows": 10, **spec},
        )
        self.manifest: Manifest = create_job(self.storage, job, MODEL)
        self.chunks = read_chunks(self.storage, self.manifest)

    def score_all(self) -> None:
        for chunk in range(len(self.chunks)):
            self.score(chunk)

    def score(self, number: int, change: Change = lambda _: None, **account: Any) -> None:
        """Write a sound result, changed by `change`; its account is that of the sound one."""
        chunk = self.chunks[number]
        uri = self.manifest.files[chunk.file].uri
        rows = range(chunk.row_start, chunk.row_start + chunk.rows)
        errors = [None if row % 7 else "text_blank" for row in rows]
        ids = pq.read_table(uri, columns=["id"]).column(0).to_pylist()
        columns: dict[str, list[Any]] = {
            "id": [ids[row] for row in rows],
            "source_file": [uri] * chunk.rows,
            "source_row": list(rows),
            "label": ["positive" if error is None else None for error in errors],
            "score": [0.75 if error is None else None for error in errors],
            "scores": [[0.25, 0.75] if error is None else None for error in errors],
            "n_tokens": [3 if error is None else 0 for error in errors],
            "truncated": [False] * chunk.rows,
            "error": errors,
        }
        told = ResultAccount(
            **{
                "job_id": self.manifest.job_id,
                "chunk": number,
                "generation": 0,
                "attempt": 1,
                "model": "models/sentiment",
                "model_digest": MODEL.digest,
                "rows": chunk.rows,
                "rows_scored": errors.count(None),
                "errors": {"text_blank": errors.count("text_blank")} if any(errors) else {},
                "tokens": 3 * errors.count(None),
                "truncated_rows": 0,
                "seconds": 0.1,
                "worker": "w",
                "device": "cpu",
                "dtype": "fp32",
                "libraries": {},
                **account,
            }
        )
        change(columns)
        own = result_schema(
            [pa.field("id", pa.string())] if self.manifest.spec.id_columns else [],
            all_scores=self.manifest.spec.all_scores,
        )
        schema = pa.schema([field.with_nullable(True) for field in own])
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        path = Path(layout.result(self.output, number))
        path.write_bytes(result_bytes(table, told))

    def bury(self, number: int, generation: int = 0, **changes: Any) -> None:
        chunk = self.chunks[number]
        letter = DeadLetter(
            job_id=self.manifest.job_id,
            chunk=number,
            generation=generation,
            code="input_corrupt",
            message="m",
            traceback="",
            worker="w",
            buried_at=datetime.now(UTC),
            attempts=(),
            file=self.manifest.files[chunk.file],
            row_start=chunk.row_start,
            rows=chunk.rows,
        )
        body = letter.model_copy(update=changes).model_dump_json().encode()
        self.storage.create(layout.dead_letter(self.output, number, generation), body)

    def send_again(self, *numbers: int, generation: int = 1) -> None:
        record = Generation(
            job_id=self.manifest.job_id,
            number=generation,
            created_at=datetime.now(UTC),
            chunks=numbers,
        )
        body = record.model_dump_json().encode()
        self.storage.create(layout.generation(self.output, generation), body)

    def end(self) -> None:
        finalize(self.storage, self.manifest, survey(self.storage, self.manifest))

    def verify(self, **options: Any) -> VerifyReport:
        return verify(self.storage, self.output, **options)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def scored(job: Job) -> Job:
    job.score_all()
    return job


def kinds(report: VerifyReport) -> list[FindingKind]:
    return sorted(report.counts)


def test_a_complete_result_is_sound_and_every_row_is_counted(scored: Job) -> None:
    scored.end()

    report = scored.verify()

    assert report.findings == ()
    assert (report.sound, report.complete, report.ids_compared) == (True, True, True)
    assert (report.rows, report.rows_scored, report.rows_error) == (150, 126, 24)
    assert report.errors == {"text_blank": 24}
    assert (report.rows_dead, report.rows_missing) == (0, 0)
    assert report.chunks_succeeded == report.chunks == len(scored.chunks)


def test_a_chunk_without_result_or_dead_letter_is_missing(scored: Job) -> None:
    Path(layout.result(scored.output, 2)).unlink()

    report = scored.verify()

    assert (report.sound, report.complete) == (True, False)
    assert report.missing_chunks == (2,)
    assert report.rows_missing == scored.chunks[2].rows


def test_a_dead_chunk_is_counted_as_dead(scored: Job) -> None:
    Path(layout.result(scored.output, 2)).unlink()
    scored.bury(2)
    scored.end()

    report = scored.verify()

    assert (report.sound, report.complete) == (True, False)
    assert (report.dead_chunks, report.missing_chunks) == ((2,), ())
    assert (report.rows_dead, report.rows_missing) == (scored.chunks[2].rows, 0)


def test_a_dead_chunk_that_was_sent_again_is_missing_until_it_has_a_result(scored: Job) -> None:
    Path(layout.result(scored.output, 2)).unlink()
    scored.bury(2)
    scored.send_again(2)

    before = scored.verify()
    scored.score(2)
    after = scored.verify()

    assert (before.dead_chunks, before.missing_chunks) == ((), (2,))
    assert after.complete


def test_a_result_wins_over_a_dead_letter(scored: Job) -> None:
    scored.bury(2)

    assert scored.verify().complete


def drop(*places: int) -> Change:
    def change(columns: dict[str, list[Any]]) -> None:
        for values in columns.values():
            values[:] = [value for place, value in enumerate(values) if place not in places]

    return change


def put(column: str, place: int, value: Any) -> Change:
    return lambda columns: columns[column].__setitem__(place, value)


def swap(columns: dict[str, list[Any]]) -> None:
    for values in columns.values():
        values[2], values[5] = values[5], values[2]


def repeat(columns: dict[str, list[Any]]) -> None:
    for values in columns.values():
        values.insert(4, values[3])


WRONG: list[tuple[Change, FindingKind, str]] = [
    (drop(3, 4, 8), FindingKind.ROWS_MISSING, "lacks 3 rows: 13-14, 18"),
    (repeat, FindingKind.ROWS_TWICE, "has more than once 1 rows: 13"),
    (put("source_row", 9, 20), FindingKind.ROWS_FOREIGN, "has of other chunks 1 rows: 20"),
    (put("source_row", 9, None), FindingKind.ROWS_MISSING, "lacks 1 rows: 19"),
    (put("source_file", 1, "elsewhere"), FindingKind.ROWS_FOREIGN, "1 rows of another file"),
    (put("source_file", 1, None), FindingKind.ROWS_FOREIGN, "1 rows of another file"),
    (swap, FindingKind.ROWS_DISORDERED, "another order"),
    (put("error", 0, "text_null"), FindingKind.ROW_VALUES, "with an error and a label or score"),
    (put("score", 0, None), FindingKind.ROW_VALUES, "without error and without score"),
    (put("label", 0, None), FindingKind.ROW_VALUES, "whose label is not one of the model"),
    (put("label", 0, "other"), FindingKind.ROW_VALUES, "whose label is not one of the model"),
    (put("score", 0, float("nan")), FindingKind.ROW_VALUES, "with a score that cannot be"),
    (put("score", 0, 1.5), FindingKind.ROW_VALUES, "with a score that cannot be"),
    (put("n_tokens", 0, 99), FindingKind.ACCOUNT, "says tokens"),
    (put("truncated", 0, True), FindingKind.ACCOUNT, "says truncated rows 0"),
    (put("error", 4, "text_null"), FindingKind.ACCOUNT, "says errors {'text_blank': 1}"),
    (put("id", 6, "doc-999999"), FindingKind.IDS, "'id' is not that of the corpus in 1 rows: 16"),
    (put("id", 6, None), FindingKind.IDS, "'id' is not that of the corpus in 1 rows: 16"),
]


@pytest.mark.parametrize(("change", "kind", "says"), WRONG)
def test_what_is_wrong_with_a_result_is_named(
    scored: Job, change: Change, kind: FindingKind, says: str
) -> None:
    scored.score(1, change)

    report = scored.verify()

    found = [finding for finding in report.findings if finding.kind == kind]
    assert [finding.chunk for finding in found] == [1]
    assert "chunk 1" in found[0].message
    assert says in found[0].message
    assert not report.sound


@pytest.mark.parametrize(
    ("account", "says"),
    [
        ({"job_id": "other"}, "says job other of itself"),
        ({"chunk": 7}, "says chunk 7 of itself, it should be 1"),
        ({"model_digest": "e" * 64}, "says model digest eee"),
        ({"rows_scored": 3}, "says scored rows 3"),
        ({"rows": 99}, "says rows 99"),
    ],
)
def test_an_account_that_is_not_that_of_its_rows_is_named(
    scored: Job, account: dict[str, Any], says: str
) -> None:
    scored.score(1, **account)

    report = scored.verify()

    assert kinds(report) == [FindingKind.ACCOUNT]
    assert says in report.findings[0].message


def test_results_of_two_chunks_that_were_exchanged_are_noticed(scored: Job) -> None:
    first, second = (Path(layout.result(scored.output, chunk)) for chunk in (1, 2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)

    report = scored.verify()

    assert {FindingKind.ROWS_MISSING, FindingKind.ROWS_FOREIGN, FindingKind.ACCOUNT} <= set(
        report.counts
    )
    assert FindingKind.RESULT_DAMAGED not in report.counts
    assert report.rows_missing == scored.chunks[1].rows + scored.chunks[2].rows


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: b"",
        lambda content: bytes([*content[:200], content[200] ^ 1, *content[201:]]),
        lambda content: b"not Parquet at all, but long enough",
    ],
)
def test_a_damaged_result_is_named_and_the_others_are_counted(
    scored: Job, damage: Callable[[bytes], bytes]
) -> None:
    path = Path(layout.result(scored.output, 1))
    path.write_bytes(damage(path.read_bytes()))

    report = scored.verify()

    assert kinds(report) == [FindingKind.RESULT_DAMAGED]
    assert str(path) in report.findings[0].message
    assert report.rows_scored + report.rows_error == 140
    assert report.rows_missing == 10


def test_a_bit_that_flips_anywhere_in_the_data_of_a_result_is_noticed(scored: Job) -> None:
    path = Path(layout.result(scored.output, 1))
    content = path.read_bytes()
    data, _ = split_result(content, str(path))
    places = range(0, len(data), 7)

    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        check = check_result(scored.storage, scored.manifest, scored.chunks[1])
        assert [f.kind for f in check.findings] == [FindingKind.RESULT_DAMAGED], place
        assert f"the data of {path} is not what was written" in check.findings[0].message

    assert len(places) > 100


def test_a_bit_that_flips_anywhere_in_a_footer_is_noticed_once_there_is_a_summary(
    scored: Job,
) -> None:
    scored.end()
    path = Path(layout.result(scored.output, 1))
    content = path.read_bytes()
    data, _ = split_result(content, str(path))
    counted = read_counted(scored.storage, scored.output).results
    assert counted is not None

    for place in range(len(data), len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        check = check_result(scored.storage, scored.manifest, scored.chunks[1])
        sha256 = check.footer_sha256
        changed = sha256 is not None and any(check_counted(1, sha256, counted))
        assert check.findings or changed, place

    path.write_bytes(content)
    assert scored.verify().complete


def test_a_sound_result_in_the_place_of_the_one_that_was_counted_is_named(scored: Job) -> None:
    scored.score(1, generation=1, attempt=2)
    scored.end()
    scored.score(1)  # that of an older generation

    report = scored.verify()

    assert [(f.kind, f.chunk) for f in report.findings] == [(FindingKind.RESULT_CHANGED, 1)]
    assert "result of chunk 1 is not the one that the summary counted" in report.findings[0].message
    scored.score(1, generation=1, attempt=2)
    assert scored.verify().complete


def test_a_result_scored_after_the_summary_is_no_trouble_as_long_as_some_are_missing(
    scored: Job,
) -> None:
    for chunk in (1, 2):
        Path(layout.result(scored.output, chunk)).unlink()
    scored.end()
    scored.score(1)

    report = scored.verify()

    assert (report.sound, report.missing_chunks) == (True, (2,))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "the table of the results, is gone"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is not the table"),
    ],
)
def test_a_table_of_results_that_is_gone_or_another_is_named(
    scored: Job, damage: Callable[[Path], Any], says: str
) -> None:
    scored.end()
    (table,) = Path(scored.output, "_bulkscore").glob("results-*.table")
    damage(table)

    report = scored.verify()

    assert kinds(report) == [FindingKind.SUMMARY]
    assert str(table) in report.findings[0].message
    assert says in report.findings[0].message


def test_a_result_without_account_or_with_other_columns_is_named(scored: Job) -> None:
    path = Path(layout.result(scored.output, 1))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    other = Path(layout.result(scored.output, 3))
    account = read_account(scored.storage, str(other))
    other.write_bytes(result_bytes(pq.read_table(other).drop(["score"]), account))

    report = scored.verify()

    assert kinds(report) == [FindingKind.RESULT_DAMAGED, FindingKind.RESULT_SCHEMA]


def test_objects_that_readers_would_take_for_results_are_named(scored: Job) -> None:
    for name in ("part-000099.parquet", "part-1.parquet", "old/part-000000.parquet", "notes.txt"):
        scored.storage.create(f"{scored.output}/{name}", b"x")
    scored.storage.create(f"{scored.output}/.hidden.tmp", b"x")

    report = scored.verify()

    assert kinds(report) == [FindingKind.FOREIGN_OBJECT]
    assert report.counts == {FindingKind.FOREIGN_OBJECT: 4}
    assert report.rows_scored + report.rows_error == 150


def test_a_marker_before_every_chunk_has_a_result_is_named(scored: Job) -> None:
    scored.end()
    Path(layout.result(scored.output, 0)).unlink()

    assert kinds(scored.verify()) == [FindingKind.MARKER]


def test_a_marker_beside_a_summary_of_a_failed_job_is_named(tmp_path: Path) -> None:
    job = Job(tmp_path, max_row_errors=ErrorBudget(count=1))
    job.score_all()
    job.end()
    before = job.verify()
    job.storage.create(layout.success_marker(job.output), b"")

    after = job.verify()

    assert before.complete
    assert kinds(after) == [FindingKind.MARKER]
    assert "the summary says that the job has failed" in after.findings[0].message


def test_a_summary_that_counts_otherwise_is_named(scored: Job) -> None:
    scored.end()
    uri = layout.summary(scored.output)
    body = scored.storage.read(uri)
    scored.storage.replace(uri, body.replace(b'"rows_scored": 126', b'"rows_scored": 127'))

    report = scored.verify()

    assert kinds(report) == [FindingKind.SUMMARY]
    assert "says rows scored 127, counted 126" in report.findings[0].message


def test_a_dead_letter_that_is_damaged_or_of_another_chunk_is_named(scored: Job) -> None:
    for chunk in (1, 2, 3):
        Path(layout.result(scored.output, chunk)).unlink()
    scored.bury(1)
    scored.bury(2, rows=99)
    scored.storage.create(layout.dead_letter(scored.output, 3, 0), b"{}")

    report = scored.verify()

    assert [(f.kind, f.chunk) for f in report.findings] == [
        (FindingKind.DEAD_LETTER, 2),
        (FindingKind.DEAD_LETTER, 3),
    ]


def test_a_corpus_that_changed_or_vanished_is_named_once_and_the_rest_still_counted(
    scored: Job,
) -> None:
    scored.corpus[0].unlink()
    corpora.write_corpus(scored.corpus[1], rows=20)

    report = scored.verify()
    without = scored.verify(corpus=False)

    assert report.counts == {FindingKind.CORPUS: 2}
    assert "0.parquet" in report.findings[0].message
    assert "changed" in report.findings[1].message
    assert report.rows_scored + report.rows_error == 150
    assert without.complete


def test_ids_are_not_looked_at_without_the_corpus(scored: Job) -> None:
    scored.score(1, put("id", 0, "wrong"))

    report = scored.verify(corpus=False)

    assert (report.complete, report.ids_compared) == (True, False)


def test_without_id_columns_the_files_are_still_compared_with_the_plan(tmp_path: Path) -> None:
    job = Job(tmp_path, id_columns=())
    job.score_all()
    sound = job.verify()
    job.corpus[2].unlink()

    assert (sound.complete, sound.ids_compared) == (True, False)
    assert job.verify().counts == {FindingKind.CORPUS: 1}


@pytest.mark.parametrize("scores", [[0.5], None, [0.1, 0.2, 0.7]])
def test_lists_of_scores_must_be_as_long_as_there_are_labels(tmp_path: Path, scores: Any) -> None:
    job = Job(tmp_path, all_scores=True)
    job.score_all()
    sound = job.verify()
    job.score(1, put("scores", 0, scores))

    assert sound.complete
    assert kinds(job.verify()) == [FindingKind.ROW_VALUES]


def test_many_findings_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    job = Job(tmp_path, rows=300)
    for chunk in range(len(job.chunks)):
        job.score(chunk, drop(0))

    report = job.verify()

    assert len(job.chunks) > KEPT_PER_KIND
    assert report.counts[FindingKind.ROWS_MISSING] == len(job.chunks) == report.rows_missing
    told = [f.chunk for f in report.findings if f.kind == FindingKind.ROWS_MISSING]
    assert told == list(range(KEPT_PER_KIND))


def test_files_of_many_chunks_are_compared_to_their_last_row(tmp_path: Path) -> None:
    job = Job(tmp_path, rows=3 * CHUNKS_PER_SPAN, chunk_rows=2)
    job.score_all()
    last = len(job.chunks) - 1
    sound = job.verify()
    job.score(last, put("id", 0, "wrong"))
    told: list[tuple[int, int]] = []

    report = job.verify(progress=lambda *n: told.append(n))

    assert sound.complete
    assert [(f.kind, f.chunk) for f in report.findings] == [(FindingKind.IDS, last)]
    assert told[-1] == (len(job.chunks), len(job.chunks))
    assert len(told) > 3


def test_an_output_without_a_job_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(ManifestMissing, match="holds no job"):
        verify(Storage(), str(tmp_path))


def test_a_corpus_without_a_row_is_complete_at_once(tmp_path: Path) -> None:
    job = Job(tmp_path, rows=0)

    assert job.verify().complete


def test_readers_of_datasets_see_exactly_the_result_rows(scored: Job) -> None:
    import polars as pl

    scored.bury(1)
    scored.send_again(1)
    scored.end()

    with_pyarrow = ds.dataset(scored.output).count_rows()
    # polars looks into every folder and refuses records among them: it is given the glob.
    with_polars = pl.scan_parquet(f"{scored.output}/*.parquet").select(pl.len()).collect().item()

    assert with_pyarrow == with_polars == 150
    assert pq.read_table(scored.output).num_rows == 150


def test_ranges_of_rows_are_told_in_short() -> None:
    assert row_ranges([4]) == "4"
    assert row_ranges([4, 5, 6, 9]) == "4-6, 9"
    assert row_ranges(list(range(0, 40, 2))) == "0, 2, 4, 6, 8 and 15 more ranges"
