"""Recounting results: whatever is wrong with the rows of a result is named."""

from typing import Any

import pytest

from producer.findings import FindingKind
from support.verified_job import Change, VerifiedJob, drop, kinds, put


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
    scored: VerifiedJob, change: Change, kind: FindingKind, says: str
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
    scored: VerifiedJob, account: dict[str, Any], says: str
) -> None:
    scored.score(1, **account)

    report = scored.verify()

    assert kinds(report) == [FindingKind.ACCOUNT]
    assert says in report.findings[0].message
