"""Recounting results: every row and every chunk is counted, and what is missing is named."""

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from producer.findings import KEPT_PER_KIND, FindingKind
from producer.row_check import row_ranges
from producer.span_check import CHUNKS_PER_SPAN
from producer.verify import verify
from schemas import layout
from schemas.errors import ManifestMissing
from schemas.storage import Storage
from support import corpora
from support.verified_job import VerifiedJob, drop, kinds, put


def test_a_complete_result_is_sound_and_every_row_is_counted(scored: VerifiedJob) -> None:
    scored.end()

    report = scored.verify()

    assert report.findings == ()
    assert (report.sound, report.complete, report.ids_compared) == (True, True, True)
    assert (report.rows, report.rows_scored, report.rows_error) == (150, 126, 24)
    assert report.errors == {"text_blank": 24}
    assert (report.rows_dead, report.rows_missing) == (0, 0)
    assert report.chunks_succeeded == report.chunks == len(scored.chunks)


def test_a_chunk_without_result_or_dead_letter_is_missing(scored: VerifiedJob) -> None:
    Path(layout.result(scored.output, 2)).unlink()

    report = scored.verify()

    assert (report.sound, report.complete) == (True, False)
    assert report.missing_chunks == (2,)
    assert report.rows_missing == scored.chunks[2].rows


def test_a_dead_chunk_is_counted_as_dead(scored: VerifiedJob) -> None:
    Path(layout.result(scored.output, 2)).unlink()
    scored.bury(2)
    scored.end()

    report = scored.verify()

    assert (report.sound, report.complete) == (True, False)
    assert (report.dead_chunks, report.missing_chunks) == ((2,), ())
    assert (report.rows_dead, report.rows_missing) == (scored.chunks[2].rows, 0)


def test_a_dead_chunk_that_was_sent_again_is_missing_until_it_has_a_result(
    scored: VerifiedJob,
) -> None:
    Path(layout.result(scored.output, 2)).unlink()
    scored.bury(2)
    scored.send_again(2)

    before = scored.verify()
    scored.score(2)
    after = scored.verify()

    assert (before.dead_chunks, before.missing_chunks) == ((), (2,))
    assert after.complete


def test_a_result_wins_over_a_dead_letter(scored: VerifiedJob) -> None:
    scored.bury(2)

    assert scored.verify().complete


def test_a_corpus_that_changed_or_vanished_is_named_once_and_the_rest_still_counted(
    scored: VerifiedJob,
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


def test_ids_are_not_looked_at_without_the_corpus(scored: VerifiedJob) -> None:
    scored.score(1, put("id", 0, "wrong"))

    report = scored.verify(corpus=False)

    assert (report.complete, report.ids_compared) == (True, False)


def test_without_id_columns_the_files_are_still_compared_with_the_plan(tmp_path: Path) -> None:
    job = VerifiedJob(tmp_path, id_columns=())
    job.score_all()
    sound = job.verify()
    job.corpus[2].unlink()

    assert (sound.complete, sound.ids_compared) == (True, False)
    assert job.verify().counts == {FindingKind.CORPUS: 1}


@pytest.mark.parametrize("scores", [[0.5], None, [0.1, 0.2, 0.7]])
def test_lists_of_scores_must_be_as_long_as_there_are_labels(tmp_path: Path, scores: Any) -> None:
    job = VerifiedJob(tmp_path, all_scores=True)
    job.score_all()
    sound = job.verify()
    job.score(1, put("scores", 0, scores))

    assert sound.complete
    assert kinds(job.verify()) == [FindingKind.ROW_VALUES]


def test_many_findings_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    job = VerifiedJob(tmp_path, rows=300)
    for chunk in range(len(job.chunks)):
        job.score(chunk, drop(0))

    report = job.verify()

    assert len(job.chunks) > KEPT_PER_KIND
    assert report.counts[FindingKind.ROWS_MISSING] == len(job.chunks) == report.rows_missing
    told = [f.chunk for f in report.findings if f.kind == FindingKind.ROWS_MISSING]
    assert told == list(range(KEPT_PER_KIND))


def test_files_of_many_chunks_are_compared_to_their_last_row(tmp_path: Path) -> None:
    job = VerifiedJob(tmp_path, rows=3 * CHUNKS_PER_SPAN, chunk_rows=2)
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
    job = VerifiedJob(tmp_path, rows=0)

    assert job.verify().complete


def test_readers_of_datasets_see_exactly_the_result_rows(scored: VerifiedJob) -> None:
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
