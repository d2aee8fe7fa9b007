"""The report stands alone, says what was measured, and trusts no name."""

import re
from typing import Any

import numpy as np
import pytest

from support.evaluated import REGRESSION, evaluated, random_rows
from worker.lifecycle.calibration_error import calibration_of
from worker.lifecycle.curves import curves_of
from worker.lifecycle.evaluated_rows import EvaluatedRows
from worker.lifecycle.evaluation import plain
from worker.lifecycle.evaluation_report import html_report
from worker.lifecycle.evaluation_text import evaluation_lines
from worker.lifecycle.quality import quality_of
from worker.lifecycle.slices import slices_of

NAMES = ("<script>alert(1)</script>", "$x_1$ & 好", "plain")


def record_of(rows: EvaluatedRows) -> dict[str, Any]:
    quality = quality_of(rows, seed=0, resamples=20)
    found: dict[str, Any] = plain(
        {
            "at": "2026-01-01T00:00:00+00:00",
            "bulkscore": "0",
            "libraries": {"torch": "2"},
            "settings": {"seed": 0},
            "model": {
                "ref": "m@1",
                "digest": "0" * 64,
                "model_type": "bert",
                "problem": "single-label",
                "labels": list(rows.labels),
            },
            "data": {
                "files": ["a.csv"],
                "rows": len(rows),
                "tokens": 9,
                "unscored_rows": len(rows.errors),
                "errors": {"text_blank": len(rows.errors)},
            },
            "quality": {
                **quality.metrics,
                "labels": quality.labels,
                "confusion": quality.confusion,
            },
            "intervals": quality.intervals,
            "calibration": calibration_of(rows, seed=0),
            "curves": curves_of(rows),
            "slices": slices_of(rows, ["x"] * len(rows), seed=0, resamples=20),
            "mistakes": [],
            "gate": [
                {
                    "metric": "accuracy",
                    "asked": "min 1",
                    "value": 0.5,
                    "baseline": None,
                    "passed": False,
                    "problem": "0.5 is below 1",
                }
            ],
        }
    )
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    rows = random_rows(150, unscored=3)
    return record_of(evaluated(rows.scores, rows.targets, NAMES))


def test_the_report_needs_no_network_and_runs_nothing(found: dict[str, Any]) -> None:
    html = html_report(found)

    assert html.count("<svg") == 5
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert not re.search(r"url\((?!#)", html)
    assert "$x_1$ &amp; 好" in html
    assert "FAILED: 0.5 is below 1" in html
    assert "3 of them not scored" in html


def test_a_regression_has_a_report_of_what_it_has() -> None:
    asked = np.linspace(0, 1, 40)
    rows = evaluated(asked[:, None] + 0.1, asked, ["value"], REGRESSION)

    html = html_report(record_of(rows))

    assert html.count("<svg") == 1
    assert "spearman" in html


def test_the_lines_name_what_was_not_scored_and_what_failed(found: dict[str, Any]) -> None:
    text = "\n".join(evaluation_lines(found))

    assert "not scored       3: text_blank 3" in text
    assert re.search(r"accuracy +0\.\d{4} +0\.\d{4} to 0\.\d{4} +Wilson", text)
    assert re.search(r"accuracy +min 1 .*FAILED", text)
