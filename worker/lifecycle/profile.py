"""What labelled data is like before anything is trained on it, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from schemas.labelled import LABEL, TEXT, LabelledColumns, LabelledTexts, Problem, read_labelled
from schemas.storage import Storage
from worker.lifecycle.same_text import Leakage, Repeats, find_leakage, find_repeats
from worker.lifecycle.scripts import scripts_of
from worker.lifecycle.token_lengths import count_tokens

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often a label or script occurs; `share` is of all rows."""

    name: str
    rows: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of texts: quantiles by nearest rank, and the longest."""

    p50: int
    p90: int
    p99: int
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLengths:
    """Lengths in tokens, and how many rows have more than the `limit` that the model reads."""

    lengths: Lengths
    limit: int
    truncated_rows: int
    truncated_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The numbers of a regression."""

    smallest: float
    mean: float
    largest: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProfile:
    """What one set of labelled texts is like.

    Attributes:
        blank_rows: Rows whose text is missing, empty or white space.
        unlabelled_rows: Rows without a label.
        labels: Labels by falling count; with several labels a text the shares add up to more
            than 1.
        values: Of a regression, instead of labels.
        scripts: Roughly the languages, see `scripts`.
    """

    rows: int
    problem: Problem
    blank_rows: int
    unlabelled_rows: int
    labels: tuple[Share, ...]
    values: Values | None
    characters: Lengths
    tokens: TokenLengths | None
    repeats: Repeats
    scripts: tuple[Share, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What training data, and test data if any, are like; `warnings` are sentences."""

    data: DataProfile
    test: DataProfile | None
    leakage: Leakage | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensOf:
    """The model whose tokens are counted, and the length at which texts are cut."""

    model: str
    max_length: int | None = None


def profile(
    storage: Storage,
    data: list[str],
    test_data: list[str],
    columns: LabelledColumns,
    tokens: TokensOf | None = None,
) -> Profile:
    """Read labelled data, rows without text or label as well, and say what it is like.

    Raises:
        InputMissing, InputCorrupt, SchemaMismatch, UsageError: As `read_labelled`.
        ModelIncompatible: As `count_tokens`.
    """
    train = read_labelled(storage, data, columns, complete=False)
    test = read_labelled(storage, test_data, columns, complete=False) if test_data else None
    return profile_of(storage, train, test, tokens)


def profile_of(
    storage: Storage,
    train: LabelledTexts,
    test: LabelledTexts | None,
    tokens: TokensOf | None = None,
) -> Profile:
    """Return what labelled texts are like."""
    from worker.lifecycle.data_warnings import warnings_of

    data = _describe(storage, train, tokens)
    other = _describe(storage, test, tokens) if test else None
    leakage = find_leakage(train.rows, test.rows) if test else None
    warnings = tuple(warnings_of(train, test, data, other, leakage))
    return Profile(data=data, test=other, leakage=leakage, warnings=warnings)


def _describe(storage: Storage, rows: LabelledTexts, tokens: TokensOf | None) -> DataProfile:
    table, problem = rows.rows, rows.problem
    texts = table[TEXT].fill_null("")
    return DataProfile(
        rows=len(table),
        problem=problem,
        blank_rows=int((texts.str.strip_chars() == "").sum()),
        unlabelled_rows=table[LABEL].null_count(),
        labels=tuple(_shares(pl.Series("name", rows.single_labels, pl.String), len(table))),
        values=_values(table[LABEL]) if problem == "regression" else None,
        characters=_lengths(texts.str.len_chars()),
        tokens=_tokens(storage, texts.to_list(), tokens) if tokens else None,
        repeats=find_repeats(table, conflicts=problem != "regression"),
        scripts=tuple(_shares(scripts_of(texts), len(table))),
    )


def _shares(names: pl.Series, rows: int) -> Iterator[Share]:
    counted = names.drop_nulls().alias("name").value_counts(name="rows")
    for name, count in counted.sort("rows", "name", descending=[True, False]).iter_rows():
        yield Share(name=name, rows=count, share=count / rows)


def _lengths(lengths: ArrayLike) -> Lengths:
    known = np.asarray(lengths)
    p50, p90, p99 = np.quantile(known, QUANTILES, method="inverted_cdf")
    return Lengths(p50=int(p50), p90=int(p90), p99=int(p99), longest=int(known.max()))


def _values(values: pl.Series) -> Values | None:
    known = values.drop_nulls().to_numpy()
    if not known.size:
        return None
    return Values(
        smallest=float(known.min()),
        mean=float(known.mean()),
        largest=float(known.max()),
        deviation=float(known.std()),
    )


def _tokens(storage: Storage, texts: list[str], tokens: TokensOf) -> TokenLengths:
    counted, reads = count_tokens(storage, tokens.model, texts)
    limit = min(tokens.max_length or reads, reads)
    truncated = int((counted > limit).sum())
    return TokenLengths(
        lengths=_lengths(counted),
        limit=limit,
        truncated_rows=truncated,
        truncated_share=truncated / len(texts),
    )
