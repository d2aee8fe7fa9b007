"""A split parts rows so that no text and no group is on two sides, and labels have their shares."""

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SchemaMismatch, UsageError
from schemas.labelled import LabelledColumns, LabelledTexts, Problem, read_labelled
from schemas.storage import Storage
from support.data import require_data
from worker.lifecycle.split import Shares, split


def rows_of(
    labels: list[Any],
    texts: list[str] | None = None,
    problem: Problem = "single-label",
    **more: Any,
) -> LabelledTexts:
    table = pl.DataFrame({"text": texts or [f"text {i}" for i in range(len(labels))], **more})
    table = table.with_columns(pl.Series("label", labels), pl.lit("f").alias("source_file"))
    return LabelledTexts(rows=table.with_row_index("source_row"), problem=problem)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(30, 120), min_size=2, max_size=4),
    seed=st.integers(0, 1_000),
    test=st.sampled_from([0.1, 0.2, 0.25]),
)
def test_every_label_has_its_share_to_within_one(counts: list[int], seed: int, test: float) -> None:
    labels = [str(i) for i, count in enumerate(counts) for _ in range(count)]

    sides = split(rows_of(labels), Shares(test=test, validation=test, seed=seed))

    assert set(sides) == {"train", "validation", "test"}
    found = Counter(zip(sides, labels, strict=True))
    for i, count in enumerate(counts):
        in_test, rest = found["test", str(i)], count - found["test", str(i)]
        assert abs(in_test - count * round(test * len(labels)) / len(labels)) <= 1
        left = len(labels) - round(test * len(labels))
        assert abs(found["validation", str(i)] - rest * round(test * len(labels)) / left) <= 1


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.integers(0, 60), min_size=100, max_size=200),
    seed=st.integers(0, 1_000),
    shuffle=st.randoms(use_true_random=False),
)
def test_a_text_is_on_one_side_and_the_order_of_rows_is_of_no_matter(
    texts: list[int], seed: int, shuffle: Any
) -> None:
    spelled = [(f"Text {n}!" if i % 2 else f"text {n}") for i, n in enumerate(texts)]
    labels = [str(n % 2) for n in texts]
    shares = Shares(test=0.2, validation=0.2, seed=seed)
    order = list(range(len(texts)))
    shuffle.shuffle(order)
    if len(set(texts)) < 20:
        return

    sides = split(rows_of(labels, spelled), shares)
    again = split(rows_of([labels[i] for i in order], [spelled[i] for i in order]), shares)

    assert len(set(zip(texts, sides, strict=True))) == len(set(texts))
    assert again == [sides[i] for i in order]


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.integers(0, 40), min_size=150, max_size=250),
    seed=st.integers(0, 1_000),
)
def test_a_group_and_a_text_that_two_groups_share_are_on_one_side(
    groups: list[int], seed: int
) -> None:
    if len(set(groups)) < 35:
        return
    texts = [f"text {i}" for i in range(len(groups))]
    texts[0] = texts[1] = "shared"
    labels = [str(i % 2) for i in range(len(groups))]

    rows = rows_of(labels, texts, author=groups)
    sides = split(rows, Shares(test=0.2, validation=0.1, seed=seed, group_column="author"))

    assert len(set(zip(groups, sides, strict=True))) == len(set(groups))
    assert sides[0] == sides[1]
    assert set(sides) == {"train", "validation", "test"}


@settings(max_examples=60, deadline=None)
@given(days=st.lists(st.integers(0, 300), min_size=50, max_size=100, unique=True))
def test_the_latest_rows_are_the_test_and_repeat_nothing(days: list[int]) -> None:
    texts = [f"text {i % (len(days) - 5)}" for i in range(len(days))]

    rows = rows_of(["a"] * len(days), texts, day=[str(day) for day in days])
    sides = split(rows, Shares(test=0.2, validation=0.2, time_column="day"))

    found = {s: [d for d, side in zip(days, sides, strict=True) if side == s] for s in set(sides)}
    kept = {(t, s) for t, s in zip(texts, sides, strict=True) if s != "left_out"}
    assert len(kept) == len(set(texts))
    assert max(found["train"]) < min(found["validation"])
    assert max(found["validation"]) < min(found["test"])
    assert sides.count("test") <= round(0.2 * len(days)) + 1


def test_dates_and_numbers_are_in_their_order() -> None:
    shares = Shares(validation=0, test=0.25, time_column="when")

    dates = split(
        rows_of(["a"] * 4, when=["2025-01-02", "2024-12-31", "2025-01-10", "2023-01-01"]), shares
    )
    numbers = split(rows_of(["a"] * 4, when=["9", "10", "8", "7"]), shares)

    assert dates == ["train", "train", "test", "train"]
    assert numbers == ["train", "test", "train", "train"]


def test_a_label_too_rare_for_every_side_is_trained_on() -> None:
    labels = ["a", "b"] * 50 + ["rare", "rare"]

    sides = split(rows_of(labels), Shares())

    assert sides[-2:] == ["train", "train"]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([["a"], ["b"], ["a", "b"], []] * 30, "multi-label"),
        ([float(i) for i in range(120)], "regression"),
    ],
)
def test_sets_of_labels_and_ranges_of_values_have_their_shares(
    labels: list[Any], problem: Problem
) -> None:
    sides = split(rows_of(labels, problem=problem), Shares(test=0.2, validation=0.2))

    assert Counter(sides) == {"train": 72, "validation": 24, "test": 24}
    chosen = [label for label, side in zip(labels, sides, strict=True) if side == "test"]
    if problem == "regression":
        assert sum(label < 60 for label in chosen) in (11, 12, 13)
    else:
        assert {len([c for c in chosen if c == kind]) for kind in labels[:4]} == {6}


@pytest.mark.parametrize(
    ("labels", "shares", "told"),
    [
        (["a", "b"] * 2, Shares(), "too few"),
        (["a", "b"] * 20, Shares(test=0.5, validation=0.5), "less than 1"),
        (["a", "b"] * 20, Shares(test=0, validation=0), "more than 0"),
        (["a", "b"] * 20, Shares(group_column="g", time_column="g"), "together"),
        (["a", "b"] * 20, Shares(group_column="g"), "groups are too few"),
    ],
)
def test_a_split_that_cannot_be_is_refused(labels: list[str], shares: Shares, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        split(rows_of(labels, g=["x"] * len(labels)), shares)


def test_a_time_that_is_none_is_named_by_its_row() -> None:
    with pytest.raises(SchemaMismatch, match="row 1: column 'when'"):
        split(rows_of(["a"] * 2, when=["2025-01-01", "soon"]), Shares(time_column="when"))


def test_a_public_set_is_split_alike_on_every_machine() -> None:
    found = read_labelled(
        Storage(), [str(require_data("chnsenticorp/train.csv"))], LabelledColumns()
    )

    sides = split(found, Shares(seed=7))

    counts = Counter(zip(sides, found.labels, strict=True))
    assert (counts["test", "0"], counts["test", "1"]) == (148, 322)
    assert (counts["validation", "0"], counts["validation", "1"]) == (148, 322)
