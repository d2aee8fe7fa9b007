"""What of a data set's profile is worth a warning, in sentences with places and no texts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scipy.stats import binomtest

from schemas.labelled import LabelledTexts
from worker.lifecycle.same_text import Leakage

if TYPE_CHECKING:
    from worker.lifecycle.profile import DataProfile

CONFIDENCE = 0.95
# Half width of the interval of a share at which a test set, or the rows of one label in it, is
# called too small to judge by.
WIDE_SET, WIDE_LABEL = 0.05, 0.10
# Rows of the rarest label for each of the most frequent one.
SKEW = 0.1
FEW_ROWS = 20  # of a label to train on
TRUNCATED_SHARE = 0.05
# More labels than this for each row, and they are no labels.
LABELS_PER_ROW = 0.2
LABELS_TOLD = 5


def half_width(rows: int) -> float:
    """Return half the width of the 95 % Wilson interval of an accuracy measured on so many rows.

    At an accuracy of one half, where it is widest: z / (2 sqrt(n + z²)) with z = 1.96. E. B.
    Wilson, Probable inference, the law of succession, and statistical inference (1927); why this
    interval: Brown, Cai, DasGupta, Interval estimation for a binomial proportion (2001).
    """
    found = binomtest(rows // 2, rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.high - found.low) / 2


def warnings_of(
    train: LabelledTexts,
    test: LabelledTexts | None,
    data: "DataProfile",
    test_data: "DataProfile | None",
    leakage: Leakage | None,
) -> Iterator[str]:
    """Yield what to look at before training."""
    yield from _of_rows("data", train, data)
    yield from _of_labels(data)
    if test is None or test_data is None or leakage is None:
        return
    yield from _of_rows("test data", test, test_data)
    if leakage.rows:
        yield (
            f"test data: {leakage.rows:,} rows ({leakage.share:.1%}) have a text of the training "
            f"data, {leakage.exact_rows:,} of them letter for letter; the first: "
            f"{_places(test, leakage.places)}"
        )
    unknown = sorted(set(test.single_labels) - set(train.single_labels))
    if unknown:
        yield f"test data: labels that the training data lacks: {_listed(unknown)}"
    yield from _of_size(test_data)


def _of_rows(name: str, rows: LabelledTexts, found: "DataProfile") -> Iterator[str]:
    if found.blank_rows:
        yield f"{name}: {found.blank_rows:,} rows without a text"
    if found.unlabelled_rows:
        yield f"{name}: {found.unlabelled_rows:,} rows without a label"
    if found.repeats.rows:
        yield f"{name}: {found.repeats.rows:,} rows repeat the text of an earlier one"
    if found.repeats.conflicting_texts:
        yield (
            f"{name}: {found.repeats.conflicting_texts:,} texts have different labels, in "
            f"{found.repeats.conflicting_rows:,} rows; the first: "
            f"{_places(rows, found.repeats.conflicts)}"
        )
    tokens = found.tokens
    if tokens and tokens.truncated_share > TRUNCATED_SHARE:
        yield (
            f"{name}: {tokens.truncated_share:.1%} of the texts have more than the {tokens.limit} "
            "tokens that are read of them"
        )


def _of_labels(data: "DataProfile") -> Iterator[str]:
    labels = data.labels
    if data.problem == "regression":
        return
    if data.problem == "single-label" and len(labels) == 1:
        yield f"data: there is one label only, {labels[0].name!r}"
    if len(labels) > max(FEW_ROWS, LABELS_PER_ROW * data.rows):
        yield f"data: {len(labels):,} labels in {data.rows:,} rows: is it the right column?"
        return
    few = [label.name for label in labels if label.rows < FEW_ROWS]
    if few:
        yield f"data: fewer than {FEW_ROWS} rows of {_listed(few)}"
    if len(labels) > 1 and labels[-1].rows < SKEW * labels[0].rows:
        yield (
            f"data: skewed: {labels[0].rows:,} rows of {labels[0].name!r}, {labels[-1].rows:,} of "
            f"{labels[-1].name!r}"
        )


def _of_size(test: "DataProfile") -> Iterator[str]:
    width = half_width(test.rows)
    if width > WIDE_SET:
        yield (
            f"test data: {test.rows:,} rows: an accuracy is known to ±{width:.1%} at best guess, "
            "too little to compare models by"
        )
    wide = [label.name for label in test.labels if half_width(label.rows) > WIDE_LABEL]
    if wide:
        yield (
            f"test data: too few rows of {_listed(wide)}: their recall is known to worse than "
            f"±{WIDE_LABEL:.0%}"
        )


def _places(rows: LabelledTexts, numbers: tuple[int, ...]) -> str:
    return "; ".join(rows.place(number) for number in numbers)


def _listed(names: list[str]) -> str:
    more = len(names) - LABELS_TOLD
    shown = ", ".join(repr(name) for name in names[:LABELS_TOLD])
    return f"{shown} and {more:,} more" if more > 0 else shown
