"""Recounting results: one that was damaged, exchanged or replaced is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from producer.findings import FindingKind
from producer.record_check import check_counted, read_counted
from producer.result_check import check_result
from schemas import layout
from schemas.results import read_account, split_result
from support.stored_jobs import result_bytes
from support.verified_job import VerifiedJob, kinds


def test_results_of_two_chunks_that_were_exchanged_are_noticed(scored: VerifiedJob) -> None:
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
    scored: VerifiedJob, damage: Callable[[bytes], bytes]
) -> None:
    path = Path(layout.result(scored.output, 1))
    path.write_bytes(damage(path.read_bytes()))

    report = scored.verify()

    assert kinds(report) == [FindingKind.RESULT_DAMAGED]
    assert str(path) in report.findings[0].message
    assert report.rows_scored + report.rows_error == 140
    assert report.rows_missing == 10


def test_a_bit_that_flips_anywhere_in_the_data_of_a_result_is_noticed(scored: VerifiedJob) -> None:
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
    scored: VerifiedJob,
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


def test_a_sound_result_in_the_place_of_the_one_that_was_counted_is_named(
    scored: VerifiedJob,
) -> None:
    scored.score(1, generation=1, attempt=2)
    scored.end()
    scored.score(1)  # that of an older generation

    report = scored.verify()

    assert [(f.kind, f.chunk) for f in report.findings] == [(FindingKind.RESULT_CHANGED, 1)]
    assert "result of chunk 1 is not the one that the summary counted" in report.findings[0].message
    scored.score(1, generation=1, attempt=2)
    assert scored.verify().complete


def test_a_result_scored_after_the_summary_is_no_trouble_as_long_as_some_are_missing(
    scored: VerifiedJob,
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
    scored: VerifiedJob, damage: Callable[[Path], Any], says: str
) -> None:
    scored.end()
    (table,) = Path(scored.output, "_bulkscore").glob("results-*.table")
    damage(table)

    report = scored.verify()

    assert kinds(report) == [FindingKind.SUMMARY]
    assert str(table) in report.findings[0].message
    assert says in report.findings[0].message


def test_a_result_without_account_or_with_other_columns_is_named(scored: VerifiedJob) -> None:
    path = Path(layout.result(scored.output, 1))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    other = Path(layout.result(scored.output, 3))
    account = read_account(scored.storage, str(other))
    other.write_bytes(result_bytes(pq.read_table(other).drop(["score"]), account))

    report = scored.verify()

    assert kinds(report) == [FindingKind.RESULT_DAMAGED, FindingKind.RESULT_SCHEMA]
