"""When two texts are the same, and which rows repeat, contradict or leak.

Two texts are the same when they are equal in normal form: Unicode NFKC, lower case, and one space
for every run of what is neither a letter, a mark nor a digit. A text of which nothing is left is
compared by NFKC and lower case alone.
"""

from dataclasses import dataclass

import polars as pl

from schemas.labelled import LABEL, TEXT

_NO_WORD = r"[^\p{L}\p{M}\p{N}]+"
PLACES_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Texts that occur several times.

    Attributes:
        exact_rows: Rows whose text is that of an earlier row, letter for letter.
        rows: The same in normal form.
        conflicting_texts: Texts, in normal form, that have different labels.
        conflicting_rows: Rows with such a text.
        conflicts: First rows of some such texts, by their number in the table.
    """

    exact_rows: int
    rows: int
    conflicting_texts: int
    conflicting_rows: int
    conflicts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """Test rows whose text is in the training data: letter for letter, and in normal form."""

    exact_rows: int
    rows: int
    share: float
    places: tuple[int, ...]


def normal_form(texts: pl.Series) -> pl.Series:
    """Return the normal form of each text; of null and blank texts it is empty."""
    lowered = texts.fill_null("").str.normalize("NFKC").str.to_lowercase()
    words = lowered.str.replace_all(_NO_WORD, " ").str.strip_chars()
    return lowered.str.strip_chars().zip_with(words == "", words)


def find_repeats(rows: pl.DataFrame, *, conflicts: bool = True) -> Repeats:
    """Return which texts occur several times; blank ones do not count.

    Args:
        rows: With `text` and `label`.
        conflicts: Whether different labels contradict each other; numbers do not.
    """
    known = _known(rows)
    label = pl.col(LABEL).list.sort() if isinstance(rows[LABEL].dtype, pl.List) else pl.col(LABEL)
    groups = known.group_by("normal", maintain_order=True).agg(
        pl.len(), label.drop_nulls().n_unique().alias("labels"), pl.col("row").first()
    )
    conflicting = groups.filter(pl.lit(conflicts) & (pl.col("labels") > 1))
    return Repeats(
        exact_rows=len(known) - known[TEXT].n_unique(),
        rows=len(known) - len(groups),
        conflicting_texts=len(conflicting),
        conflicting_rows=int(conflicting["len"].sum()),
        conflicts=tuple(conflicting["row"].head(PLACES_TOLD).to_list()),
    )


def find_leakage(train: pl.DataFrame, test: pl.DataFrame) -> Leakage:
    """Return which rows of the test data have a text of the training data."""
    seen, asked = _known(train), _known(test)
    leaked = asked.join(seen, on="normal", how="semi", maintain_order="left")
    return Leakage(
        exact_rows=len(asked.join(seen, on=TEXT, how="semi")),
        rows=len(leaked),
        share=len(leaked) / len(test),
        places=tuple(leaked["row"].head(PLACES_TOLD).to_list()),
    )


def _known(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose text is not blank, with its normal form and their number."""
    normal = normal_form(rows[TEXT]).alias("normal")
    return rows.with_columns(normal).with_row_index("row").filter(pl.col("normal") != "")
