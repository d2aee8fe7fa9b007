"""Labels as the numbers that a model is trained on, and their names in the order of the logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UsageError
from schemas.labelled import LabelledTexts

LABELS_TOLD = 10  # in one message


def label_names(labels: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the labels in the order of the logits.

    Args:
        labels: The labels in the data.
        given: Names chosen by the user: the labels themselves in an order of choice, or names
            for the numbers 0 to n-1 in the data.

    Raises:
        UsageError: The names do not fit the data, or there are fewer than two labels.
    """
    found = set(labels)
    if given is None:
        numbers = all(label.isdecimal() for label in found)
        names = tuple(sorted(found, key=int) if numbers else sorted(found))
    else:
        names = tuple(given)
        numbers_of_names = {str(i) for i in range(len(names))}
        if len(set(names)) != len(names) or not (found <= set(names) or found <= numbers_of_names):
            raise UsageError(
                f"the labels {', '.join(names)} do not name those of the data: "
                f"{', '.join(sorted(found)[:LABELS_TOLD])}"
            )
    if len(names) < 2:
        raise UsageError(f"training needs at least two labels, the data has {', '.join(names)}")
    return names


def targets(rows: LabelledTexts, names: Sequence[str]) -> NDArray[Any]:
    """Return what a model is to give for each row.

    Args:
        rows: The data.
        names: Names of the labels in the order of the logits; the data has these, or their
            numbers. Of a regression they are not looked at.

    Returns:
        int64 [rows], the index of the label; with several labels a text float32 [rows, labels],
        1 where a label applies; of a regression float32 [rows], the value.

    Raises:
        UsageError: A label in the data is none of them; file and row are named.
    """
    if rows.problem == "regression":
        return np.array(rows.labels, dtype=np.float32)
    numbers = _numbers(rows, names)
    if rows.problem == "single-label":
        return np.array([numbers[label] for label in rows.labels], dtype=np.int64)
    found = np.zeros((len(rows.labels), len(names)), dtype=np.float32)
    for row, labels in enumerate(rows.labels):
        found[row, [numbers[label] for label in labels]] = 1
    return found


def _numbers(rows: LabelledTexts, names: Sequence[str]) -> dict[str, int]:
    """Return the index of each label as it is written in the data."""
    by_name = {name: i for i, name in enumerate(names)}
    by_number = {str(i): i for i in range(len(names))}
    found = set(rows.single_labels)
    known = by_number if found <= by_number.keys() and not found <= by_name.keys() else by_name
    for row, labels in enumerate(rows.labels) if not found <= known.keys() else ():
        for label in [labels] if rows.problem == "single-label" else labels:
            if label not in known:
                raise UsageError(
                    f"{rows.place(row)}: label {label!r} is none of {', '.join(names)}"
                )
    return known
