"""The rows of a training: read, their labels named, split where need be, and told apart."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import UsageError
from schemas.labelled import LabelledTexts, read_labelled
from schemas.storage import Storage
from worker.lifecycle.labelled import label_names, targets
from worker.lifecycle.split import Shares, split
from worker.lifecycle.train_base import Head
from worker.lifecycle.train_model import PROBLEM_TYPES
from worker.lifecycle.train_recipe import Recipe, Sources

LABELS_TOLD = 10  # in one message
# Outside of this a regression is slow to learn: its head begins near 0, and steps are small.
SOUND_DEVIATION = (0.1, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Rows to train or measure on; `targets` as `worker.lifecycle.labelled.targets`."""

    texts: list[str]
    targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The labelled texts of a training, as they were read."""

    train: LabelledTexts
    validation: LabelledTexts | None
    test: LabelledTexts | None

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the texts and labels of each side."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: digest(rows) for name, rows in sides.items() if rows is not None}


def read_rows(storage: Storage, sources: Sources, recipe: Recipe) -> Rows:
    """Return what there is to train, validate and test on.

    Where validation is asked for and no data are given for it, a share of the data is put aside,
    every label with its share, by the seed of the recipe.

    Raises:
        UsageError: The data are too few to be split.
        BulkError: As `read_labelled`.
    """
    train = read_labelled(storage, sources.data, sources.columns)
    test = read_labelled(storage, sources.test, sources.columns) if sources.test else None
    if sources.validation:
        validation = read_labelled(storage, sources.validation, sources.columns)
        return Rows(train=train, validation=validation, test=test)
    if not recipe.validates(sources):
        return Rows(train=train, validation=None, test=test)
    shares = Shares(validation=recipe.validation_share, test=0, seed=recipe.seed)
    sides = pl.Series(split(train, shares))
    kept, aside = (
        LabelledTexts(rows=train.rows.filter(sides == side), problem=train.problem)
        for side in ("train", "validation")
    )
    say(f"{len(aside.rows):,} of {len(sides):,} rows are put aside to validate on")
    return Rows(train=kept, validation=aside, test=test)


def choose_labels(rows: Rows, recipe: Recipe, head: Head | None, column: str) -> tuple[str, ...]:
    """Return the names of the labels in the order of the logits.

    Args:
        rows: The data.
        recipe: Its `labels` name those of a new head, or of one whose labels have no names.
        head: What the base has for a head, if it is to be kept.
        column: Name of the one output of a regression.

    Raises:
        UsageError: Labels and head do not fit, or there is one class only.
    """
    problem, found = rows.train.problem, set(rows.train.single_labels)
    if head is not None and head.problem_type != PROBLEM_TYPES[problem]:
        raise UsageError(
            f"the base has a head for {head.problem_type.replace('_', ' ')}, the data are "
            f"{problem}: say --new-head to train another one, or another --problem"
        )
    if problem == "regression":
        return head.labels if head else (column,)
    if len(found) < 2:
        only = ", ".join(map(repr, sorted(found))) or "none"
        raise UsageError(f"the data to train on have one label only ({only}): it takes two")
    if head is None:
        return label_names(rows.train.single_labels, recipe.labels)
    return _labels_of_head(head, recipe.labels, found)


def _labels_of_head(head: Head, given: Sequence[str] | None, found: set[str]) -> tuple[str, ...]:
    names = head.labels
    if given is not None:
        if len(given) != len(names) or not (head.is_unnamed or tuple(given) == names):
            raise UsageError(
                f"--labels {','.join(given)}: the head of the base has {_listed(names)}, in this "
                "order: leave --labels out, or say --new-head to train another head"
            )
        names = tuple(given)
    if not (found <= set(names) or found <= {str(i) for i in range(len(names))}):
        unknown = sorted(found - set(names))
        raise UsageError(
            f"the data have labels that the head of the base lacks: {_listed(unknown)}; it has "
            f"{_listed(names)}: say --new-head to train another head"
        )
    return names


def examples(rows: LabelledTexts, names: Sequence[str]) -> Examples:
    """Return texts and targets.

    Raises:
        UsageError: A label is none of `names`; file and row are named.
    """
    return Examples(texts=rows.texts, targets=targets(rows, names))


def warn(rows: Rows, names: Sequence[str]) -> None:
    """Say on stderr what of labels and values would spoil validation or training."""
    if rows.train.problem == "regression":
        deviation = float(np.std(targets(rows.train, names)))
        if not SOUND_DEVIATION[0] <= deviation <= SOUND_DEVIATION[1]:
            say(
                f"warning: the values have a standard deviation of {deviation:.3g}: scale them to "
                "about 1, or little will be learnt"
            )
        return
    for name, side in (("validation", rows.validation), ("test", rows.test)):
        there = set(side.single_labels) if side is not None else set()
        missing = sorted(set(rows.train.single_labels) - there)
        if side is not None and missing:
            say(f"warning: {name} data: no rows of {_listed(missing)}")


def digest(rows: LabelledTexts) -> str:
    """Return the SHA-256 of texts and labels in their order, wherever they were read from."""
    found = hashlib.sha256()
    for text, label in zip(rows.texts, rows.labels, strict=True):
        found.update(json.dumps([text, label], ensure_ascii=False).encode(errors="replace"))
    return found.hexdigest()


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LABELS_TOLD
    shown = ", ".join(names[:LABELS_TOLD])
    return f"{shown} and {more:,} more" if more > 0 else shown
