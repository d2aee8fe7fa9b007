"""The loss of a student is that of the paper, for each problem."""

import numpy as np
import pytest
import torch

from schemas.labelled import Problem
from worker.lifecycle.distilling import distillation_loss, student_layers


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


STUDENT = np.array([[1.0, -0.5, 0.2], [0.3, 0.1, -2.0]])
TEACHER = np.array([[2.0, -1.0, 0.0], [-0.7, 0.4, 1.0]])


def loss_of(problem: Problem, wanted: np.ndarray, *, share: float, temperature: float) -> float:
    """Return the loss as Trainer asks for it, which counts all numbers of the labels."""
    width = 1 if problem == "regression" else 3
    labels = torch.tensor(np.column_stack([wanted, TEACHER[:, :width]]), dtype=torch.float32)
    logits = torch.tensor(STUDENT[:, :width], dtype=torch.float32)
    loss = distillation_loss(problem, share=share, temperature=temperature)
    found = loss({"logits": logits}, labels, num_items_in_batch=labels.numel())
    assert float(found) == pytest.approx(float(loss({"logits": logits}, labels)), rel=1e-5)
    return float(found)


def test_one_label_a_text() -> None:
    wanted, t, a = np.array([2, 0]), 3.0, 0.7
    p, q = softmax(TEACHER / t), softmax(STUDENT / t)
    divergence = (p * np.log(p / q)).sum(axis=1).mean()
    entropy = -np.log(softmax(STUDENT)[[0, 1], wanted]).mean()

    found = loss_of("single-label", wanted, share=a, temperature=t)

    assert found == pytest.approx(a * t**2 * divergence + (1 - a) * entropy, rel=1e-5)


def test_several_labels_are_a_distribution_each() -> None:
    wanted, t, a = np.array([[1, 0, 1], [0, 0, 1]]), 2.0, 0.4
    p, q, s = (1 / (1 + np.exp(-x)) for x in (TEACHER / t, STUDENT / t, STUDENT))
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    entropy = -(wanted * np.log(s) + (1 - wanted) * np.log(1 - s)).mean()

    found = loss_of("multi-label", wanted, share=a, temperature=t)

    assert found == pytest.approx(a * t**2 * divergence + (1 - a) * entropy, rel=1e-4)


def test_a_regression_is_near_to_both() -> None:
    wanted, a = np.array([0.5, -1.0]), 0.25
    expected = a * ((STUDENT - TEACHER)[:, 0] ** 2).mean()
    expected += (1 - a) * ((STUDENT[:, 0] - wanted) ** 2).mean()

    assert loss_of("regression", wanted, share=a, temperature=2.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("teacher", "student", "layers"), [(6, 3, [0, 2, 4]), (12, 6, [0, 2, 4, 6, 8, 10]), (3, 1, [0])]
)
def test_the_layers_of_a_student_are_evenly_spaced(
    teacher: int, student: int, layers: list[int]
) -> None:
    assert student_layers(teacher, student) == layers
