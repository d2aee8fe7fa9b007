"""Recounting results: what lies beside them and does not fit is named."""

from pathlib import Path

from producer.findings import FindingKind
from schemas import layout
from schemas.job import ErrorBudget
from support.verified_job import VerifiedJob, kinds


def test_objects_that_readers_would_take_for_results_are_named(scored: VerifiedJob) -> None:
    for name in ("part-000099.parquet", "part-1.parquet", "old/part-000000.parquet", "notes.txt"):
        scored.storage.create(f"{scored.output}/{name}", b"x")
    scored.storage.create(f"{scored.output}/.hidden.tmp", b"x")

    report = scored.verify()

    assert kinds(report) == [FindingKind.FOREIGN_OBJECT]
    assert report.counts == {FindingKind.FOREIGN_OBJECT: 4}
    assert report.rows_scored + report.rows_error == 150


def test_a_marker_before_every_chunk_has_a_result_is_named(scored: VerifiedJob) -> None:
    scored.end()
    Path(layout.result(scored.output, 0)).unlink()

    assert kinds(scored.verify()) == [FindingKind.MARKER]


def test_a_marker_beside_a_summary_of_a_failed_job_is_named(tmp_path: Path) -> None:
    job = VerifiedJob(tmp_path, max_row_errors=ErrorBudget(count=1))
    job.score_all()
    job.end()
    before = job.verify()
    job.storage.create(layout.success_marker(job.output), b"")

    after = job.verify()

    assert before.complete
    assert kinds(after) == [FindingKind.MARKER]
    assert "the summary says that the job has failed" in after.findings[0].message


def test_a_summary_that_counts_otherwise_is_named(scored: VerifiedJob) -> None:
    scored.end()
    uri = layout.summary(scored.output)
    body = scored.storage.read(uri)
    scored.storage.replace(uri, body.replace(b'"rows_scored": 126', b'"rows_scored": 127'))

    report = scored.verify()

    assert kinds(report) == [FindingKind.SUMMARY]
    assert "says rows scored 127, counted 126" in report.findings[0].message


def test_a_dead_letter_that_is_damaged_or_of_another_chunk_is_named(scored: VerifiedJob) -> None:
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
