"""Comparing two results: every row is found, and what moved is counted and named."""

import random
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from producer.agreement import cohen_kappa, share_of
from producer.cli.app import build_app
from producer.compare import compare
from producer.compare_record import Comparison
from producer.compare_rows import in_step
from producer.compare_side import side
from producer.compare_sketch import Sketch
from schemas.errors import InputMissing, OutputTaken, UsageError
from schemas.job import Manifest
from schemas.storage import Storage
from support.compared_jobs import Said, corpus, scored_job
from support.stored_jobs import model_pin

REGRESSION = model_pin(problem_type="regression", labels=("value",))
POSITIVE: Said = ("positive", 0.75, None)


def compared(a: Manifest, b: Manifest, **options: Any) -> Comparison:
    storage = Storage()
    return compare(side(storage, a), side(storage, b), **options)


def random_rows(count: int, seed: int) -> list[Said]:
    source = random.Random(seed)
    rows: list[Said] = []
    for _ in range(count):
        if source.random() < 0.1:
            rows.append((None, None, source.choice(["text_null", "text_blank"])))
        else:
            rows.append((source.choice(["negative", "positive"]), source.uniform(0.5, 1), None))
    return rows


def test_a_report_stands_alone_shows_what_moved_and_trusts_no_name(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    source = corpus(tmp_path / "corpus", 20)
    a, b = (
        scored_job(tmp_path, name, source, [(label, 0.75, None)] * 5 + [POSITIVE] * 15)
        for name, label in (("a", "$x_1$"), ("b", bad))
    )
    outputs, place = [a.spec.output, b.spec.output], tmp_path / "report.html"

    done = CliRunner().invoke(build_app(), ["compare", *outputs, "--report", str(place)])

    assert done.exit_code == 0, done.output
    html = place.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "75.00%" in html  # the same label
    assert html.count("<svg") == 2  # label moves, score shift
    assert "$x_1$" in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert "mathdefault" not in html
    for where, error in ((tmp_path, OutputTaken), (tmp_path / "none" / "r.html", InputMissing)):
        refused = CliRunner().invoke(build_app(), ["compare", *outputs, "--report", str(where)])
        assert isinstance(refused.exception, error)


@pytest.mark.parametrize("on", [None, "id"])
def test_rows_are_put_together_whatever_the_chunks_and_counted_as_polars_counts_them(
    tmp_path: Path, on: str | None
) -> None:
    source = corpus(tmp_path / "corpus", 35, 58)
    before, after = random_rows(93, 1), random_rows(93, 2)
    a = scored_job(tmp_path, "a", source, before, chunk_rows=9)
    b = scored_job(tmp_path, "b", source, after, chunk_rows=14)

    found = compared(a, b, on=on)

    pairs = list(zip(before, after, strict=True))
    scored = [(x, y) for x, y in pairs if x[2] is None and y[2] is None]
    same = sum(x[0] == y[0] for x, y in scored)
    shifts = [
        (y[1] if x[0] == y[0] else 1 - y[1]) - x[1]  # type: ignore[operator]
        for x, y in scored
    ]
    assert (found.rows, found.rows_compared) == (93, len(scored))
    assert found.agreement is not None
    assert (found.agreement.count, found.agreement.of) == (same, len(scored))
    assert sum(move.rows for move in found.label_moves) == len(scored)
    assert sum(error.rows for error in found.errors) == 93 - len(scored)
    assert (found.rows_only_a, found.rows_only_b, found.rows_ambiguous) == (0, 0, 0)
    assert found.shift.rows == sum(found.shift.histogram) == len(scored)
    assert found.shift.mean == pytest.approx(sum(shifts) / len(shifts), abs=1e-6)
    assert found.shift.quantiles["1"] == pytest.approx(max(shifts), rel=0.011)
    furthest = sorted((abs(shift) for shift in shifts), reverse=True)
    moved = [row.moved for row in found.moved_most]
    assert moved == pytest.approx(furthest[: len(moved)], abs=1e-6)


def test_a_row_that_moved_is_named_by_its_place_and_ids_and_nothing_else(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", 20, 20)
    after = [POSITIVE] * 40
    after[31] = ("negative", 0.875, None)

    found = compared(
        scored_job(tmp_path, "a", source, [POSITIVE] * 40),
        scored_job(tmp_path, "b", source, after, chunk_rows=3),
    )

    (row,) = found.moved_most
    assert (row.source_file, row.source_row) == (str(source / "1.parquet"), 11)
    assert row.ids == {"id": "31"}
    assert (row.label_a, row.label_b, row.shift) == ("positive", "negative", 0.125 - 0.75)
    assert "a text" not in found.model_dump_json()


def test_rows_without_a_counterpart_are_counted_on_their_side(tmp_path: Path) -> None:
    source, part = corpus(tmp_path / "corpus", 20, 20), tmp_path / "corpus" / "0.parquet"
    whole = scored_job(tmp_path, "whole", source, [POSITIVE] * 40, left_out=[0])
    one_file = scored_job(tmp_path, "one-file", part, [POSITIVE] * 20, chunk_rows=7)

    by_place = compared(whole, one_file)
    by_id = compared(whole, one_file, on="id")

    # The first chunk of `whole` holds its first 14 rows: two row groups of 7.
    missing = by_place.rows_only_b
    assert 0 < missing < 20
    for found in (by_place, by_id):
        assert (found.rows, found.rows_only_a, found.rows_only_b) == (20 - missing, 20, missing)
    assert by_place.files_only_a == (str(source / "1.parquet"),)


def test_shift_of_a_third_label_is_known_only_where_all_scores_were_kept(tmp_path: Path) -> None:
    source, labels = corpus(tmp_path / "corpus", 2), ("a", "b", "c")
    pin = model_pin(labels=labels)
    before: list[Said] = [("a", 0.75, None), ("b", 0.5, None)]
    after: list[Said] = [("c", 0.625, None), ("b", 0.75, None)]
    scores = [[0.125, 0.25, 0.625], [0.125, 0.75, 0.125]]
    a = scored_job(tmp_path, "a", source, before, pin=pin)

    top = compared(a, scored_job(tmp_path, "b", source, after, pin=pin))
    every = compared(a, scored_job(tmp_path, "c", source, after, pin=pin, scores=scores))

    assert top.shift.rows == 1
    # "a" had 0.75 and has at most the 0.375 that "c" leaves: it fell by 0.375 at least.
    assert [(row.shift, row.moved) for row in top.moved_most] == [(None, 0.375), (0.25, 0.25)]
    assert [(row.shift, row.moved) for row in every.moved_most] == [(-0.625, 0.625), (0.25, 0.25)]


def test_values_of_a_regression_shift_without_labels(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus", 4)
    before: list[Said] = [(None, float(n), None) for n in range(4)]
    after: list[Said] = [(None, n + 0.5, None) for n in range(4)]

    found = compared(
        scored_job(tmp_path, "a", source, before, pin=REGRESSION),
        scored_job(tmp_path, "b", source, after, pin=REGRESSION),
    )

    assert (found.agreement, found.label_moves) == (None, ())
    assert (found.shift.mean, found.shift.rows) == (0.5, 4)


def test_jobs_that_cannot_be_compared_are_refused_with_what_to_do(tmp_path: Path) -> None:
    source, other = corpus(tmp_path / "corpus", 4), corpus(tmp_path / "other", 4)
    a = scored_job(tmp_path, "a", source, [POSITIVE] * 4)
    value: list[Said] = [(None, 1.0, None)] * 4
    regression = scored_job(tmp_path, "r", source, value, pin=REGRESSION)
    elsewhere = scored_job(tmp_path, "b", other, [POSITIVE] * 4)
    unscored = scored_job(tmp_path, "c", source, [POSITIVE] * 4, left_out=[0])

    with pytest.raises(UsageError, match="cannot be compared"):
        compared(a, regression)
    with pytest.raises(UsageError, match="--on NAME"):
        compared(a, elsewhere)
    with pytest.raises(UsageError, match="no id column 'key'; it has: id"):
        compared(a, elsewhere, on="key")
    with pytest.raises(UsageError, match="has no result yet"):
        compared(a, unscored)
    assert compared(a, elsewhere, on="id").rows == 4


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 60), unique=True), st.lists(st.integers(0, 60), unique=True))
def test_frames_in_step_hold_every_row_once_and_both_sides_of_a_row_together(
    left: list[int], right: list[int]
) -> None:
    def frames(rows: list[int], size: int) -> list[pl.DataFrame]:
        frame = pl.DataFrame({"row": sorted(rows)}, schema={"row": pl.Int64})
        return [frame[n : n + size] for n in range(0, len(rows), size)]

    cut = list(in_step(frames(left, 7), frames(right, 4)))

    for number, rows in ((0, left), (1, right)):
        found = [row for pair in cut for row in _rows(pair[number])]
        assert found == sorted(rows)
    together = [row for a, b in cut for row in set(_rows(a)) & set(_rows(b))]
    assert sorted(together) == sorted(set(left) & set(right))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_quantile_is_within_one_percent(values: list[float]) -> None:
    sketch = Sketch()
    sketch.add(pl.Series(values))

    for share in (0.0, 0.5, 1.0):
        exact = sorted(values)[int(share * (len(values) - 1))]
        assert sketch.quantile(share) == pytest.approx(exact, rel=0.0101, abs=1.1e-9)
    assert sum(sketch.histogram([-1.0, 0.0, 1.0])) == len(values)


def test_intervals_and_kappa_are_those_of_the_literature() -> None:
    # Wilson 95 % of 8 of 10, and of all of 10: R, binom::binom.wilson.
    share = share_of(8, 10)
    assert (share.low, share.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert share_of(10, 10).low == pytest.approx(0.7224672, abs=1e-6)
    assert share_of(0, 0).share is None
    # Two readers, 20 and 15 agreed, 5 and 10 not: kappa 0.4.
    moves = {("y", "y"): 20, ("y", "n"): 5, ("n", "y"): 10, ("n", "n"): 15}
    assert cohen_kappa(moves) == pytest.approx(0.4)
    assert cohen_kappa({("y", "y"): 3}) is None


def _rows(frame: pl.DataFrame | None) -> list[int]:
    return [] if frame is None else frame["row"].to_list()
