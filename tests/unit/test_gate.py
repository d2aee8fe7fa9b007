"""A gate names metrics and limits; each condition is met, or says why not."""

import pytest

from schemas.errors import UsageError
from schemas.gate import Gate, check, parse_gate, value_at

EVALUATION = {
    "data": {"sha256": "a"},
    "accuracy": 0.5,
    "quality": {"accuracy": 0.9, "labels": {"U.S. news": {"f1": 0.8}}},
    "robustness": {"typos": {"flip_rate": 0.12}},
    "efficiency": {"documents_per_second": 80.0},
    "calibration": None,
}


def gate(text: str) -> Gate:
    return parse_gate(text.encode(), "gate.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality.accuracy", 0.9),
        ("accuracy", 0.9),
        ("quality.labels.U.S. news.f1", 0.8),
        ("robustness.typos.flip_rate", 0.12),
        ("robustness.typos", None),
        ("calibration.ece", None),
        ("nowhere", None),
    ],
)
def test_a_metric_is_a_path_and_a_bare_name_is_one_of_quality(
    name: str, value: float | None
) -> None:
    assert value_at(EVALUATION, name) == value


def test_without_an_evaluation_a_bare_name_is_what_was_registered() -> None:
    assert value_at({"accuracy": 0.5}, "accuracy") == 0.5
    assert value_at({"accuracy": True}, "accuracy") is None
    assert value_at({"accuracy": float("nan")}, "accuracy") is None


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("accuracy: {min: 0.9}", None),
        ("accuracy: {min: 0.91}", "0.9 is below 0.91"),
        ("robustness.typos.flip_rate: {max: 0.12}", None),
        ("robustness.typos.flip_rate: {max: 0.1}", "0.12 is above 0.1"),
        ("accuracy: {max_drop: 0.05}", None),
        ("accuracy: {max_drop: 0.04}", "0.9 is more than 0.04 below 0.95"),
        ("robustness.typos.flip_rate: {max_rise: 0.02}", None),
        ("robustness.typos.flip_rate: {max_rise: 0.01}", "0.12 is more than 0.01 above 0.1"),
        ("efficiency.documents_per_second: {max_drop: 20%}", None),
        ("efficiency.documents_per_second: {max_drop: 10%}", "80 is more than 10% below 100"),
        ("quality.nothing: {min: 0}", "not recorded"),
        ("quality.labels.U.S. news.f1: {max_drop: 1}", "the baseline has none to compare with"),
    ],
)
def test_a_condition_is_met_or_says_why_not(asked: str, problem: str | None) -> None:
    before = {
        "quality": {"accuracy": 0.95},
        "robustness": {"typos": {"flip_rate": 0.1}},
        "efficiency": {"documents_per_second": 100.0},
    }

    (found,) = check(gate(asked), EVALUATION, before)

    assert (found.problem, found.passed) == (problem, problem is None)


def test_figures_of_different_data_are_not_compared_but_speed_is() -> None:
    before = {**EVALUATION, "data": {"sha256": "b"}}

    wrong, fine = check(
        gate("accuracy: {max_drop: 1}\nefficiency.documents_per_second: {max_drop: 1}"),
        EVALUATION,
        before,
    )

    assert wrong.problem == "the baseline was measured on other data"
    assert fine.passed


def test_nothing_is_compared_where_there_is_no_baseline() -> None:
    asked = gate("accuracy: {min: 0.5, max_drop: 0}")

    assert [found.asked for found in check(asked, EVALUATION, None)] == ["min 0.5"]
    assert asked.compares
    assert not gate("accuracy: {min: 0.5}").compares


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "accuracy: {}",
        "accuracy: 0.9",
        "accuracy: {max_drop: -1}",
        "accuracy: {max_drop: ten%}",
        "accuracy: {most: 1}",
    ],
)
def test_a_gate_that_asks_for_nothing_or_nonsense_is_refused(content: str) -> None:
    with pytest.raises(UsageError, match=r"gate gate\.yaml"):
        gate(content)
