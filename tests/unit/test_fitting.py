"""Losses, weights, labels, metrics and the order of rows of a training."""

import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from schemas.errors import UsageError
from schemas.labelled import LabelledTexts, Problem
from worker.lifecycle.losses import balanced_weights, make_loss
from worker.lifecycle.optimizers import SCHEDULES, make_optimizer
from worker.lifecycle.train_base import Head
from worker.lifecycle.train_curves import draw_curves
from worker.lifecycle.train_data import Rows, choose_labels, digest
from worker.lifecycle.train_metrics import intervals, measure
from worker.lifecycle.train_order import LengthGroupedOrder
from worker.lifecycle.train_recipe import Recipe, Sources

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]])


def loss_of(problem: Problem, labels: torch.Tensor, logits: torch.Tensor = LOGITS, **how) -> float:
    items = how.pop("items", None)
    return float(make_loss(problem, **how)({"logits": logits}, labels, items))


def test_cross_entropy_is_that_of_the_formula() -> None:
    labels = torch.tensor([2, 0])
    logged = LOGITS - LOGITS.exp().sum(1, keepdim=True).log()
    weights = np.array([0.5, 1.0, 2.0], dtype="f4")

    plain = loss_of("single-label", labels)
    weighted = loss_of("single-label", labels, weights=weights)
    smooth = loss_of("single-label", labels, smoothing=0.3)

    assert plain == pytest.approx(-float(logged[0, 2] + logged[1, 0]) / 2)
    assert weighted == pytest.approx(-float(2 * logged[0, 2] + 0.5 * logged[1, 0]) / 2)
    kept = -float(logged[0, 2] + logged[1, 0]) * 0.7
    assert smooth == pytest.approx((kept - 0.1 * float(logged.sum())) / 2)


def test_binary_cross_entropy_and_squared_error_are_those_of_the_formulas() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    shares = torch.sigmoid(LOGITS)
    smoothed = labels * 0.8 + 0.1
    each = -(smoothed * shares.log() + (1 - smoothed) * (1 - shares).log())

    assert loss_of("multi-label", labels, smoothing=0.2) == pytest.approx(float(each.mean()))
    values = torch.tensor([1.0, -1.0])
    assert loss_of("regression", values, LOGITS[:, :1]) == pytest.approx((1.0 + 1.1**2) / 2)


@pytest.mark.parametrize("problem", ["single-label", "multi-label"])
def test_two_half_batches_accumulated_are_one_batch(problem: Problem) -> None:
    labels = torch.tensor([2, 0]) if problem == "single-label" else torch.eye(3)[:2]

    whole = loss_of(problem, labels)
    parts = [
        loss_of(problem, labels[i : i + 1], LOGITS[i : i + 1], items=labels.numel())
        for i in range(2)
    ]

    assert sum(parts) == pytest.approx(whole)


def test_balanced_weights_let_every_label_count_the_same() -> None:
    targets = np.array([0] * 90 + [1] * 10)

    weights = balanced_weights("single-label", targets, 3)

    assert weights[0] * 90 == pytest.approx(weights[1] * 10)
    assert weights[targets].mean() == pytest.approx(1)
    assert weights[2] == 1
    tags = np.array([[1, 1], [0, 1], [0, 1], [0, 1]], dtype="f4")
    assert balanced_weights("multi-label", tags, 2).tolist() == [3, 0]


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "adagrad", "sgd"])
def test_an_optimizer_decays_matrices_and_leaves_biases(optimizer: str) -> None:
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, -3.0)
    recipe = Recipe(base="x", optimizer=optimizer, weight_decay=0.5, learning_rate=0.1)  # type: ignore[arg-type]
    made = make_optimizer(layer, recipe)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()

    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()

    assert type(made).__name__.lower() == optimizer
    assert (layer.weight.abs() < weight.abs()).all()
    assert torch.equal(layer.bias, bias)


def test_every_schedule_is_one_of_transformers() -> None:
    from transformers import SchedulerType

    assert set(SCHEDULES.values()) <= {kind.value for kind in SchedulerType}


def test_the_order_has_every_row_once_another_way_each_epoch_and_lengths_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 1003)
    order = LengthGroupedOrder(lengths.tolist(), 8, seed=3)

    first = order.order()
    order.epoch = 1
    second = order.order()

    assert sorted(first) == sorted(second) == list(range(1003))
    assert (first != second).any()
    assert (LengthGroupedOrder(lengths.tolist(), 8, seed=3).order() == first).all()
    spreads = [np.ptp(lengths[first[i : i + 8]]) for i in range(0, 1000, 8)]
    assert np.mean(spreads) < 15 < np.ptp(lengths)


def rows_of(labels: list[object], problem: Problem = "single-label") -> LabelledTexts:
    rows = pl.DataFrame({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    rows = rows.with_columns(pl.lit("d.csv").alias("source_file")).with_row_index("source_row")
    return LabelledTexts(rows=rows, problem=problem)


def labels_for(found: list[object], head: Head | None, problem: Problem = "single-label", **how):
    rows = Rows(train=rows_of(found, problem), validation=None, test=None)
    return choose_labels(rows, Recipe(base="x", **how), head, "stars")


HEAD = Head(labels=("bad", "good", "odd"), problem_type="single_label_classification")
UNNAMED = Head(labels=("LABEL_0", "LABEL_1"), problem_type="single_label_classification")


def test_a_head_that_is_kept_names_the_labels() -> None:
    assert labels_for(["good", "bad"], HEAD) == ("bad", "good", "odd")
    assert labels_for(["1", "2"], HEAD) == ("bad", "good", "odd")
    assert labels_for(["no", "yes"], UNNAMED, labels=("no", "yes")) == ("no", "yes")
    assert labels_for([1.5, 2.0], None, "regression") == ("stars",)


@pytest.mark.parametrize(
    ("labels", "head", "how", "match"),
    [
        (["good", "great"], HEAD, {}, "lacks: great; it has bad, good, odd: say --new-head"),
        (["0", "1", "2"], UNNAMED, {}, "lacks: 0, 1, 2; it has LABEL_0, LABEL_1"),
        (["good", "bad"], HEAD, {"labels": ("good", "bad", "odd")}, "in this order"),
        (["good", "bad"], HEAD, {"labels": ("bad", "good")}, "in this order"),
        (["good", "good"], HEAD, {}, "one label only"),
        (["good"], None, {}, "one label only"),
    ],
)
def test_labels_that_a_head_does_not_have_are_refused(labels, head, how, match) -> None:
    with pytest.raises(UsageError, match=match):
        labels_for(labels, head, **how)


def test_a_head_for_another_problem_is_refused() -> None:
    with pytest.raises(UsageError, match="head for single label classification, the data are reg"):
        labels_for([1.0, 2.0], HEAD, "regression")


@pytest.mark.parametrize(
    ("problem", "how", "match"),
    [
        ("regression", {"class_weights": "balanced"}, "--class-weights is for labels"),
        ("regression", {"label_smoothing": 0.1}, "--label-smoothing is for labels"),
        ("regression", {"metric": "accuracy"}, "of regression there are rmse, mae"),
        ("single-label", {"freeze_encoder": True, "freeze_layers": 1}, "leave --freeze-layers out"),
        ("single-label", {"base": "tiny-bert", "freeze_layers": 1}, "random weights"),
    ],
)
def test_options_that_mean_nothing_are_refused(problem: Problem, how, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Recipe(**{"base": "x", **how}).require_fit(problem)


def test_validation_is_asked_for_by_data_patience_or_search() -> None:
    none, some = Sources(data=("d",)), Sources(data=("d",), validation=("v",))

    assert not Recipe(base="x").validates(none)
    assert Recipe(base="x").validates(some)
    assert Recipe(base="x", patience=1).validates(none)
    assert Recipe(base="x", search=2).validates(none)


def test_a_digest_is_of_texts_and_labels_in_their_order() -> None:
    one, other = digest(rows_of(["a", "b"])), digest(rows_of(["b", "a"]))

    assert one == digest(rows_of(["a", "b"])) != other


def test_metrics_count_what_cannot_be_scored_as_wrong() -> None:
    logits = np.array([[1, 0], [0, 1], [np.nan, np.nan], [0, 3]], dtype="f4")

    found = measure("single-label", logits, np.array([0, 1, 1, 0]))

    assert found["accuracy"] == 0.5
    tags = measure("multi-label", np.array([[1.0, -1], [1, 1]]), np.array([[1, 0], [0, 1]]))
    assert tags == {"exact_match": 0.5, "macro_f1": pytest.approx(5 / 6), "micro_f1": 0.8}
    values = measure("regression", np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]))
    assert values["rmse"] == pytest.approx(math.sqrt(1 / 3))
    assert values["r2"] == pytest.approx(0.5)
    assert values["spearman"] == pytest.approx(1)


def test_intervals_hold_the_metric_and_shrink_with_rows() -> None:
    random = np.random.default_rng(1)

    def width(rows: int, metric: str) -> float:
        targets = random.integers(0, 2, rows)
        said = np.where(random.random(rows) < 0.8, targets, 1 - targets)
        logits = np.eye(2)[said]
        low, high = intervals("single-label", logits, targets)[metric]
        assert low < measure("single-label", logits, targets)[metric] < high
        return high - low

    for metric in ("accuracy", "macro_f1"):
        assert width(1600, metric) == pytest.approx(width(100, metric) / 4, rel=0.35)


def test_curves_are_the_same_picture_for_the_same_history() -> None:
    history = [
        {"step": 1, "epoch": 0.5, "loss": 0.7},
        {"step": 2, "epoch": 1.0, "loss": 0.6},
        {"step": 2, "epoch": 1.0, "eval_loss": 0.65, "eval_accuracy": 0.5, "eval_runtime": 1.0},
    ]

    picture = draw_curves(history)

    assert picture == draw_curves(json.loads(json.dumps(history)))
    assert b"accuracy" in picture
    assert b"runtime" not in picture
    assert b"accuracy" not in draw_curves(history[:2])
